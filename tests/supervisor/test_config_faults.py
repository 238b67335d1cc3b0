"""Every fault is told at once: where it was said, the key, what was found, what is allowed."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from supervisor.api import Module, ModuleConfig
from supervisor.config import ConfigError, Fault, load
from supervisor.config.faults import describe
from supervisor.config.tables import REPLICA_RULE


class Workers(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    query: int = Field(default=8, ge=1, le=1024)


class HubConfig(ModuleConfig):
    port: int = Field(default=10000, ge=0, le=65535)
    address: str = Field(default="0.0.0.0", min_length=1)
    mode: Literal["strict", "lax"] = "strict"
    wait: float | None = Field(default=None, gt=0)
    names: list[str] = Field(default_factory=list)
    workers: Workers = Workers()
    low: int = 0
    high: int = 1

    @model_validator(mode="after")
    def _ordered(self) -> "HubConfig":
        if self.low > self.high:
            raise ValueError("low no higher than high")
        return self


class Strict(ModuleConfig):
    key: str


class Hub(Module):
    name = "hub"
    group = "cloud"
    Config = HubConfig

    async def start(self, context: Any) -> None:
        raise NotImplementedError


class Other(Hub):
    name = "other"
    Config = ModuleConfig


class Needy(Hub):
    name = "needy"
    Config = Strict


def broken() -> Any:
    raise ModuleNotFoundError("No module named 'nowhere'")


MODULES: dict[str, Callable[[], Any]] = {"hub": lambda: Hub, "other": lambda: Other}


@pytest.fixture(autouse=True)
def a_default_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "default.toml"
    path.write_text('[modules]\nenabled = ["hub", "other"]\n')
    monkeypatch.setattr("supervisor.config.loading.default_file", lambda: path)


def all_of(
    *sets: str,
    path: Path | None = None,
    environ: dict[str, str] | None = None,
    modules: dict[str, Callable[[], Any]] | None = None,
) -> tuple[Fault, ...]:
    with pytest.raises(ConfigError) as caught:
        load(path, sets, environ or {}, modules=modules or MODULES)
    return caught.value.faults


NAMESPACES = (
    "a name of a namespace: up to 63 lower-case letters, digits and -, with a letter or digit at "
    "both ends"
)


@pytest.mark.parametrize(
    ("said", "found", "allowed"),
    [
        ("modules.hub.port=99999", "99999", "an integer from 0 to 65535"),
        ("modules.hub.port=abc", '"abc"', "an integer from 0 to 65535"),
        ("modules.hub.port=true", "true", "an integer from 0 to 65535"),
        ('modules.hub.address=""', '""', "a string that is not empty"),
        ("modules.hub.address=1", "1", "a string that is not empty"),
        ("modules.hub.mode=loose", '"loose"', '"strict" or "lax"'),
        ("modules.hub.wait=0", "0", "a number, above 0"),
        ("modules.hub.names=x", '"x"', "a list, each a string"),
        ("modules.hub.workers.query=0", "0", "an integer from 1 to 1024"),
        ("modules.hub.workers=3", "3", "a table"),
        ("modules.hub=3", "3", "a table"),
        ("modules.hub.supervision=3", "3", "a table"),
        ("modules.hub.supervision.restart=often", '"often"', '"always" or "on-failure" or "never"'),
        ("modules.hub.supervision.period=0", "0", "a number, above 0"),
        ('modules.hub.supervision.after=["huh"]', '"huh"', "the installed modules: hub, other"),
        ("modules.enabled=hub", '"hub"', "a list of module names"),
        ('modules.enabled=["huh"]', '"huh"', "the installed modules: hub, other"),
        ('modules.enabled=["hub", "hub"]', '"hub"', "each module once"),
        ("modules=1", "1", "a table"),
        ("log=1", "1", "a table"),
        ("log.verbosity=3", "3", "an integer from 0 to 2"),
        ("log.format=xml", '"xml"', '"text" or "json"'),
        ("kubernetes.qps=0", "0", "a number, above 0"),
        ("kubernetes.in_cluster=1", "1", "true or false"),
        *(
            (f'{key}="{name}"', f'"{name}"', NAMESPACES)
            for key in ("replicas.namespace", "kubernetes.namespace")
            for name in ("Kube", "kube.edge", "../nodes", "-a", "a\\n", "a" * 57 + "-")
        ),
        ('replicas.namespace=""', '""', "a string that is not empty"),
        ('replicas.name="cloud_1"', '"cloud_1"', REPLICA_RULE),
        (f'replicas.name="{"a." * 28}-"', f'"{"a." * 28}-"', REPLICA_RULE),
        ("supervisor.jitter=2", "2", "a number from 0 to 1"),
        ("supervisor.max_deliveries=0", "0", "an integer, at least 1"),
    ],
)
def test_a_value_that_is_not_allowed(said: str, found: str, allowed: str) -> None:
    key = said.partition("=")[0]
    assert all_of(said) == (Fault("--set", key, found, allowed),)


def test_the_longest_names_are_allowed() -> None:
    name = ".".join(["a" * 49] * 4)
    allowed = [f'replicas.namespace="{"a" * 63}"', f'replicas.name="a{name}"']
    assert load(None, allowed, {}, modules=MODULES).replicas.name == f"a{name}"
    longer = [f'replicas.namespace="{"a" * 64}"', f'replicas.name="aa{name}"']
    assert [fault.key for fault in all_of(*longer)] == ["replicas.name", "replicas.namespace"]


def test_a_host_without_a_usable_name_needs_one_for_the_replica(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Cloud_1")
    (fault,) = all_of("replicas.enabled=true")
    assert (fault.key, fault.found) == ("replicas.name", '""')
    assert "the name of this host, 'cloud_1', is none" in fault.allowed
    load(None, ["replicas.enabled=true", "replicas.name=cloud-1"], {}, modules=MODULES)
    load(None, [], {}, modules=MODULES)


@pytest.mark.parametrize(
    ("key", "what", "hint"),
    [
        ("modules.hub.prot", "key", "did you mean modules.hub.port?"),
        ("modules.hub.workers.querry", "key", "did you mean modules.hub.workers.query?"),
        ("modules.hub.supervision.max_restart", "key", "modules.hub.supervision.max_restarts?"),
        ("modules.hbu.port", "module", "did you mean modules.hub?"),
        ("module.hub.port", "table", "did you mean modules?"),
        ("modules.other.anything", "key", "nothing here"),
        ("log.zzz", "key", "format, verbosity"),
        ("supervisor.zzz", "key", "backoff_factor, backoff_initial"),
    ],
)
def test_a_name_that_does_not_exist(key: str, what: str, hint: str) -> None:
    (fault,) = all_of(f"{key}=1")
    assert fault.found == f"an unknown {what}"
    assert hint in fault.allowed


def test_all_faults_of_all_places_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "cloudcore.toml"
    path.write_text('[log]\nformat = "xml"\n[modules.hub]\nport = -1\nmode = "lax"\n')
    environ = {"CLOUDCORE_SUPERVISOR__PERIOD": "long", "CLOUDCORE_MODUELS__X": "1"}
    told = all_of("modules.hub.mode=loose", "no equals sign", path=path, environ=environ)
    assert {(fault.source, fault.key) for fault in told} == {
        (str(path), "log.format"),
        (str(path), "modules.hub.port"),
        ("CLOUDCORE_SUPERVISOR__PERIOD", "supervisor.period"),
        ("CLOUDCORE_MODUELS__X", "moduels"),
        ("--set", "modules.hub.mode"),
        ("--set no equals sign", ""),
    }


def test_the_text_has_place_key_found_and_allowed() -> None:
    with pytest.raises(ConfigError) as caught:
        load(sets=["modules.hub.port=-1", "modules.hub.prot=1"], environ={}, modules=MODULES)
    assert str(caught.value).splitlines() == [
        "--set: modules.hub.port: found -1; allowed: an integer from 0 to 65535",
        "--set: modules.hub.prot: found an unknown key; did you mean modules.hub.port?",
    ]


def test_a_long_value_is_cut() -> None:
    (fault,) = all_of(f"modules.hub.port={'x' * 500}")
    assert len(fault.found) == 60
    assert fault.found.endswith("…")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    (fault,) = all_of(path=tmp_path / "none.toml")
    assert fault.source == str(tmp_path / "none.toml")
    assert "No such file" in fault.found


@pytest.mark.parametrize("content", [b"[modules\n", b"a = 1\na = 2\n", b'a = "\xff"\n'])
def test_a_file_that_is_no_toml(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cloudcore.toml"
    path.write_bytes(content)
    told = all_of("log.format=xml", path=path)
    assert told[0].source == str(path)
    assert told[0].found.startswith("it is not TOML: ")
    assert told[1].key == "log.format"


@pytest.mark.parametrize("text", ["x", "=1", "a b=1", "a.=1", 'a"=1'])
def test_a_set_that_is_no_key_and_value(text: str) -> None:
    (fault,) = all_of(text)
    assert fault.source == f"--set {text}"


def test_keys_that_do_not_agree_with_each_other(tmp_path: Path) -> None:
    (tmp_path / "conf").touch()
    told = all_of(
        "kubernetes.in_cluster=true",
        f"kubernetes.kubeconfig={tmp_path / 'conf'}",
        "modules.hub.low=2",
    )
    assert [(fault.key, fault.found) for fault in told] == [
        ("kubernetes", "these keys together"),
        ("modules.hub", "these keys together"),
    ]
    assert told[1].allowed == "low no higher than high"


def test_a_kubeconfig_that_is_not_there(tmp_path: Path) -> None:
    (fault,) = all_of(f"kubernetes.kubeconfig={tmp_path / 'conf'}")
    assert fault.allowed == f"a file; there is no file {tmp_path / 'conf'}"


def test_a_key_that_is_needed() -> None:
    modules = MODULES | {"needy": lambda: Needy}
    (fault,) = all_of('modules.enabled=["needy"]', modules=modules)
    assert (fault.key, fault.found, fault.allowed) == ("modules.needy.key", "nothing", "a string")


def test_after_belongs_to_one_module_and_leads_in_no_circle() -> None:
    (fault,) = all_of('supervisor.after=["hub"]')
    assert fault.key == "supervisor.after"
    (circle,) = all_of(
        'modules.hub.supervision.after=["other"]', 'modules.other.supervision.after=["hub"]'
    )
    assert circle.found.startswith("a circle, ")
    (itself,) = all_of('modules.hub.supervision.after=["hub"]')
    assert itself.found == "a circle, hub after hub"


def test_stop_before_belongs_to_one_module_and_leads_in_no_circle() -> None:
    (fault,) = all_of('supervisor.stop_before=["hub"]')
    assert fault.key == "supervisor.stop_before"
    (unknown,) = all_of('modules.hub.supervision.stop_before=["huh"]')
    assert (unknown.found, unknown.allowed) == ('"huh"', "the installed modules: hub, other")
    (circle,) = all_of('modules.hub.supervision.stop_before=["hub"]')
    assert circle.found == "a circle, hub before hub"
    # What starts after another one may well stop after it, too.
    sets = (
        'modules.other.supervision.after=["hub"]',
        'modules.hub.supervision.stop_before=["other"]',
    )
    specs = {spec.name: spec for spec in load(None, sets, {}, modules=MODULES).modules}
    assert specs["hub"].supervision.stop_before == ("other",)


def test_an_enabled_module_that_cannot_be_imported() -> None:
    (fault,) = all_of('modules.enabled=["broken"]', modules=MODULES | {"broken": broken})
    assert fault.key == "modules.enabled"
    assert "No module named 'nowhere'" in fault.found


def test_a_disabled_one_that_cannot_be_imported_stops_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    configuration = load(environ={}, modules=MODULES | {"broken": broken})
    assert [spec.name for spec in configuration.modules] == ["hub", "other"]
    assert "No module named 'nowhere'" in caplog.text


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (3, "is not a Module"),
        (Hub, "Hub calls itself 'hub'"),
        (type("Odd", (Hub,), {"start": Module.start}), "has no start(): give it one"),
        (type("Odd", (Module,), {}), 'Odd has no name: give it name = "odd"'),
        (type("Odd", (Module,), {"name": "odd"}), 'Odd has no group: give it group = "odd"'),
    ],
)
def test_an_entry_point_that_is_no_module(found: Any, why: str) -> None:
    (fault,) = all_of('modules.enabled=["odd"]', modules=MODULES | {"odd": lambda: found})
    assert why in fault.found


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1}, "an integer, at least 1"),
        ({"type": "integer", "maximum": 5}, "an integer, at most 5"),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, "above 0 and below 1"),
        ({"type": "string", "pattern": "^a$"}, "a string that matches ^a$"),
        ({"type": "string", "pattern": "^a$", "description": "an a"}, "an a"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "an integer"),
        ({"const": "x"}, '"x"'),
        ({"type": "array"}, "a list"),
        ({}, ""),
    ],
)
def test_schemas_are_put_into_words(schema: dict[str, Any], words: str) -> None:
    assert describe(schema).endswith(words)


def test_a_kubeconfig_in_a_directory_that_may_not_be_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refuse)
    path = tmp_path / "conf"
    (fault,) = all_of(f"kubernetes.kubeconfig={path}")
    assert str(fault).endswith(f"allowed: a file; cannot read {path}: Permission denied")


def test_a_kubeconfig_that_is_a_directory(tmp_path: Path) -> None:
    (fault,) = all_of(f"kubernetes.kubeconfig={tmp_path}")
    assert str(fault).endswith(f"allowed: a file; {tmp_path} is a directory")


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ("admin.address=localhost", "HOST:PORT, such as 127.0.0.1:9090"),
        ("kubernetes.master=10.0.0.1", "a URL that begins with https:// or http://"),
    ],
)
def test_the_form_of_an_address_is_told_in_words(given: str, allowed: str) -> None:
    (fault,) = all_of(given)
    assert str(fault).endswith(f"; allowed: {allowed}")
