"""What is in force, of all that was said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from supervisor.api import KubernetesSettings, Module, ModuleConfig
from supervisor.config import Configuration, load, showing
from supervisor.config.layers import parse_value
from supervisor.config.loading import default_file
from supervisor.config.tables import KubernetesTable, LogSettings, SupervisorTable
from supervisor.config.toml import format_key, format_value
from supervisor.unit.restart_policy import Supervision


class HubConfig(ModuleConfig):
    port: int = 10000
    mode: Literal["strict", "lax"] = "strict"
    names: tuple[str, ...] = Field(default=(), strict=False)


class Hub(Module):
    name = "hub"
    group = "cloud"
    Config = HubConfig

    async def start(self, context: Any) -> None:
        raise NotImplementedError


class Other(Hub):
    name = "other"


MODULES: dict[str, Callable[[], Any]] = {"hub": lambda: Hub, "other": lambda: Other}


@pytest.fixture(autouse=True)
def a_default_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "default.toml"
    path.write_text('[modules]\nenabled = ["hub"]\n')
    monkeypatch.setattr("supervisor.config.loading.default_file", lambda: path)


def configured(
    text: str = "", *sets: str, environ: dict[str, str] | None = None, directory: Path | None = None
) -> Configuration:
    path = None
    if directory:
        path = directory / "cloudcore.toml"
        path.write_text(text)
    return load(path, sets, environ or {}, modules=MODULES)


def hub(configuration: Configuration) -> Any:
    return configuration.modules[0].config


def test_defaults_are_those_of_the_code() -> None:
    configuration = configured()
    assert configuration.supervisor == SupervisorTable()
    assert configuration.log == LogSettings()
    assert configuration.kubernetes == KubernetesSettings()
    assert configuration.max_deliveries == 3
    assert [(spec.name, spec.enabled) for spec in configuration.modules] == [
        ("hub", True),
        ("other", False),
    ]
    assert configuration.modules[0].cls is Hub
    assert configuration.modules[0].config == HubConfig()
    assert configuration.modules[0].supervision == Supervision()


def test_enabled_modules_come_first_and_in_their_order() -> None:
    configuration = configured("", 'modules.enabled=["other", "hub"]')
    assert [spec.name for spec in configuration.modules] == ["other", "hub"]
    assert all(spec.enabled for spec in configuration.modules)


def test_set_wins_over_environment_over_file_over_default(tmp_path: Path) -> None:
    text = "[modules.hub]\nport = 1\n"
    environ = {"CLOUDCORE_MODULES__HUB__PORT": "2"}
    by_set = "modules.hub.port=3"
    assert hub(configured()).port == 10000
    assert hub(configured(text, directory=tmp_path)).port == 1
    assert hub(configured(text, directory=tmp_path, environ=environ)).port == 2
    assert hub(configured(text, by_set, directory=tmp_path, environ=environ)).port == 3
    assert hub(configured("", by_set, "modules.hub.port=4")).port == 4


def test_a_file_says_only_what_differs(tmp_path: Path) -> None:
    configuration = configured("[log]\nverbosity = 1\n", directory=tmp_path)
    assert configuration.log == LogSettings(verbosity=1)
    assert configuration.modules[0].enabled


def test_a_list_is_replaced_as_a_whole(tmp_path: Path) -> None:
    text = '[modules.hub]\nnames = ["a", "b"]\n'
    configuration = configured(text, 'modules.hub.names=["c"]', directory=tmp_path)
    assert hub(configuration).names == ("c",)


def test_variables_that_are_not_meant_for_the_configuration_are_left_alone() -> None:
    environ = {
        "CLOUDCORE_SERVICE_HOST": "10.0.0.1",  # Kubernetes, for a Service named cloudcore
        "CLOUDCORE_PORT_10000_TCP": "tcp://10.0.0.1:10000",
        "MODULES__HUB__PORT": "5",
    }
    assert configured("", environ=environ) == configured()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10", 10),
        ("1.5", 1.5),
        ("true", True),
        ('"10"', "10"),
        ('["a", "b"]', ["a", "b"]),
        ("{a = 1}", {"a": 1}),
        ("plain words", "plain words"),
        ("/etc/kubeconfig", "/etc/kubeconfig"),
        ("", ""),
        ("1\nb = 2", "1\nb = 2"),
        ("[a, b]", "[a, b]"),
    ],
)
def test_values_are_toml_or_else_strings(text: str, value: Any) -> None:
    assert parse_value(text) == value


def test_supervision_of_a_module_overrides_the_defaults(tmp_path: Path) -> None:
    text = """
        [supervisor]
        max_restarts = 5
        period = 20
        [modules]
        enabled = ["hub", "other"]
        [modules.other.supervision]
        period = 30.0
        after = ["hub"]
    """
    first, second = configured(text, directory=tmp_path).modules
    assert first.supervision == Supervision(max_restarts=5, period=20.0)
    assert second.supervision == Supervision(max_restarts=5, period=30.0, after=("hub",))


def test_a_relative_kubeconfig_starts_where_it_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = tmp_path / "away"
    away.mkdir()
    for directory in (tmp_path, away):
        (directory / "admin.conf").touch()
    monkeypatch.chdir(away)
    text = '[kubernetes]\nkubeconfig = "admin.conf"\n'
    by_file = configured(text, directory=tmp_path)
    by_set = configured("", "kubernetes.kubeconfig=admin.conf", directory=tmp_path)
    assert by_file.kubernetes.kubeconfig == str(tmp_path / "admin.conf")
    assert by_set.kubernetes.kubeconfig == str(away / "admin.conf")
    assert by_file.kubernetes.configured


def test_what_is_shown_can_be_used_as_a_file(tmp_path: Path) -> None:
    configuration = configured(
        '[modules.hub]\nmode = "lax"\n[modules.hub.supervision]\nrestart = "never"\n',
        "modules.hub.port=1",
        "log.format=json",
        directory=tmp_path,
        environ={"CLOUDCORE_SUPERVISOR__PERIOD": "5"},
    )
    shown = showing.render(configuration)
    lines = shown.splitlines()
    assert f'mode = "lax"  # {tmp_path / "cloudcore.toml"}' in lines
    assert "port = 1  # --set" in lines
    assert 'format = "json"  # --set' in lines
    assert "period = 5.0  # CLOUDCORE_SUPERVISOR__PERIOD" in lines
    assert "verbosity = 0" in lines
    assert tomli.loads(shown) == showing.effective(configuration)
    again = configured(shown, directory=tmp_path)
    assert again.modules == configuration.modules
    assert again.supervisor == configuration.supervisor
    assert again.log == configuration.log


def test_the_kubernetes_table_is_the_settings_that_modules_get() -> None:
    assert KubernetesSettings(**KubernetesTable().model_dump()) == KubernetesSettings()


texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=10,
)


@given(key=texts, value=values)
def test_toml_is_written_as_it_is_read(key: str, value: Any) -> None:
    assert tomli.loads(f"{format_key(key)} = {format_value(value)}") == {key: value}


class TestShipped:
    """config/cloudcore.toml against the classes of the modules that are installed."""

    @pytest.fixture(autouse=True)
    def the_shipped_default(
        self, a_default_of_our_own: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("supervisor.config.loading.default_file", default_file)

    def test_it_says_what_the_code_says(self) -> None:
        configuration = load(environ={})
        assert configuration.supervisor == SupervisorTable()
        assert configuration.log == LogSettings()
        assert configuration.kubernetes == KubernetesSettings()
        for spec in configuration.modules:
            assert spec.config == spec.cls.Config()

    def test_it_has_every_key_and_tells_of_each_table(self) -> None:
        configuration = load(environ={})
        shipped = tomli.loads(default_file().read_text())
        effective = showing.effective(configuration)
        assert _keys(shipped) == _keys(effective)

    def test_every_key_is_in_a_paragraph_with_a_comment(self) -> None:
        commented = False
        for line in default_file().read_text().splitlines():
            if not line or line.startswith("["):
                commented = False
            elif line.startswith("#"):
                commented = True
            elif not line.startswith("after = "):  # told where it occurs first
                assert commented, line


def _keys(tree: dict[str, Any], table: str = "") -> set[str]:
    keys = set()
    for name, value in tree.items():
        keys |= _keys(value, f"{table}{name}.") if isinstance(value, dict) else {f"{table}{name}"}
    return keys


def test_the_sources_of_a_configuration_lead_to_the_same_files_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").touch()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    first = configured("", "kubernetes.kubeconfig=there")
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = configured("", *first.sources.sets)
    assert again.kubernetes.kubeconfig == first.kubernetes.kubeconfig == str(tmp_path / "there")
    assert again.sources == first.sources
