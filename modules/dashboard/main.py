"""One process of the dashboard: the poll of the supervisor, and HTTP for browsers."""

from __future__ import annotations

from contextlib import AsyncExitStack, closing

from modules.common.kube import KubeClient
from modules.common.until_stopped import until_stopped
from modules.dashboard.access.admin_token import AdminToken
from modules.dashboard.access.hosts import Hosts
from modules.dashboard.access.links import LoginLinks
from modules.dashboard.access.sessions import Sessions
from modules.dashboard.admin import Admin
from modules.dashboard.config import DashboardConfig
from modules.dashboard.history import History
from modules.dashboard.live.board import Board
from modules.dashboard.live.certificates import CertificateBoard
from modules.dashboard.live.devices import DeviceBoard
from modules.dashboard.live.edges import EdgeBoard
from modules.dashboard.live.logs import LogTails
from modules.dashboard.live.viewers import Viewers
from modules.dashboard.sources.access import Access
from modules.dashboard.sources.cluster import Cluster
from modules.dashboard.sources.devices import Devices
from modules.dashboard.sources.edges import Edges
from modules.dashboard.sources.one_edge import OneEdge
from modules.dashboard.sources.unacknowledged import Unacknowledged
from modules.dashboard.web.application import Handlers, application
from modules.dashboard.web.guard import Guard
from modules.dashboard.web.login import Login
from modules.dashboard.web.reading import Reading, Sources
from modules.dashboard.web.server import serving
from modules.dashboard.web.stream import Live
from modules.dashboard.web.verbs import Verbs
from supervisor.api import ModuleContext, Settings


async def run(config: DashboardConfig, settings: Settings, context: ModuleContext) -> None:
    """Serve the page until asked to stop."""
    listener = context.sockets["http"]
    port = listener.getsockname()[1]
    sessions = Sessions(settings.run_dir, config.session_hours)
    token = AdminToken(settings.admin_token_file)
    # Cookies are shared between the ports of a host: a name for each.
    cookie = f"cloudcore-{port}"
    guard = Guard(
        Hosts(config.address, port, config.names),
        sessions,
        token,
        cookie,
        open_to_read=config.open_to_read,
    )
    viewers = Viewers()
    history = History(settings.data_dir / "dashboard" / "history.json")
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(Admin(settings.run_dir / "admin.sock"))
        client = KubeClient.connect(settings, user_agent="cloudcore/dashboard")
        cluster = await stack.enter_async_context(Cluster(client))
        edges = Edges(settings.run_dir, cluster, replicas=settings.replicas.enabled)
        devices = Devices(cluster)
        access = Access(settings.run_dir, settings.data_dir)
        one_edge = OneEdge(cluster, edges, devices, Unacknowledged(settings.data_dir))
        fleet = (
            EdgeBoard(edges, history, viewers),
            DeviceBoard(devices, history, viewers),
            CertificateBoard(access),
        )
        board = Board(admin, fleet, history, viewers)
        logs = stack.enter_context(closing(LogTails(admin, viewers)))
        handlers = Handlers(
            Login(LoginLinks(settings.run_dir), sessions, token, cookie),
            Live(board, logs, viewers, sessions),
            Reading(admin, history, Sources(one_edge, devices, access)),
            Verbs(admin, access),
        )
        await stack.enter_async_context(serving(application(guard, handlers), listener))
        context.ready()
        await until_stopped(board.run(), context)
