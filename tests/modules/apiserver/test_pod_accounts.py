"""The service account of pods: what a pod gets, and what it cannot have."""

from __future__ import annotations

from typing import Any

import pytest

from modules.apiserver.kinds.pod_accounts import MOUNT_PATH
from tests.modules.apiserver.api import Api
from tests.modules.apiserver.samples import pod

PODS = "/api/v1/namespaces/default/pods"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
MIRROR = {"kubernetes.io/config.mirror": "a1", "kubernetes.io/config.source": "file"}


async def create(api: Api, expect: int = 201, **spec: Any) -> Any:
    return await api.call("POST", PODS, pod(**spec), expect=expect)


def volumes(made: Any) -> list[str]:
    return [volume["name"] for volume in made["spec"].get("volumes", [])]


async def test_a_pod_gets_the_token_of_its_namespace(api: Api) -> None:
    init = [{"name": "i", "image": "x:1"}]
    spec = (await create(api, initContainers=init))["spec"]
    assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("default", "default")
    (volume,) = spec["volumes"]
    name = volume.pop("name")
    assert name.startswith("kube-api-access-")
    assert len(name) == len("kube-api-access-") + 5
    token, certificate, namespace = volume["projected"]["sources"]
    assert volume["projected"]["defaultMode"] == 0o644
    assert token == {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}
    assert certificate == {
        "configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    }
    (item,) = namespace["downwardAPI"]["items"]
    assert item["fieldRef"] == {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    mount = {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}
    assert [item["volumeMounts"] for item in spec["containers"] + spec["initContainers"]] == [
        [mount],
        [mount],
    ]


async def test_a_pod_or_an_account_may_not_want_it(api: Api) -> None:
    await api.create(
        ACCOUNTS,
        metadata={"name": "shy"},
        automountServiceAccountToken=False,
        imagePullSecrets=[{"name": "registry"}],
    )
    assert not volumes(await create(api, name="a", automountServiceAccountToken=False))
    made = await create(api, name="b", serviceAccountName="shy")
    assert not volumes(made)
    assert made["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    wants = await create(
        api,
        name="c",
        serviceAccount="shy",
        automountServiceAccountToken=True,
        imagePullSecrets=[{"name": "mine"}],
    )
    assert len(volumes(wants)) == 1
    assert wants["spec"]["serviceAccountName"] == "shy"
    assert wants["spec"]["imagePullSecrets"] == [{"name": "mine"}]


async def test_what_is_mounted_there_already_stays(api: Api) -> None:
    mine = {"name": "c", "image": "x:1", "volumeMounts": [{"name": "v", "mountPath": MOUNT_PATH}]}
    made = await create(api, name="a", containers=[mine], volumes=[{"name": "v"}])
    assert volumes(made) == ["v"]
    # A copy of a pod that has it, as controllers and people make them.
    copy = {key: value for key, value in made["spec"].items() if key != "volumes"}
    copy["containers"] = [{"name": "c", "image": "x:1"}]
    made = await create(api, name="b", **{**copy, "volumes": [{"name": "kube-api-access-abcde"}]})
    assert volumes(made) == ["kube-api-access-abcde"]
    (mount,) = made["spec"]["containers"][0]["volumeMounts"]
    assert mount["name"] == "kube-api-access-abcde"


async def test_an_unknown_account_is_refused(api: Api) -> None:
    status = await create(api, serviceAccountName="nobody", expect=403)
    assert status["message"] == (
        'pods "p" is forbidden: error looking up service account default/nobody: serviceaccount '
        '"nobody" not found'
    )


async def test_mirror_pods_stay_as_their_node_has_started_them(api: Api) -> None:
    mirror = pod("static-edge-1", node="edge-1")
    mirror["metadata"]["annotations"] = MIRROR
    made = await api.call("POST", PODS, mirror, expect=201)
    assert "serviceAccountName" not in made["spec"]
    assert not volumes(made)
    secret = {"name": "v", "secret": {"secretName": "s"}}
    token = {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}
    for number, (spec, text) in enumerate(
        (
            ({"serviceAccountName": "default"}, "may not reference service accounts"),
            ({"volumes": [secret]}, "may not reference secrets"),
            ({"volumes": [token]}, "may not use ServiceAccountToken volume projections"),
        )
    ):
        bad = pod(f"bad-{number}", node="edge-1", **spec)
        bad["metadata"]["annotations"] = MIRROR
        status = await api.call("POST", PODS, bad, expect=403)
        assert text in status["message"]


@pytest.mark.parametrize(
    "spec",
    [
        {"volumes": 5},
        {"volumes": [5]},
        {"containers": [5]},
        {"containers": [{"name": "c", "image": "x", "volumeMounts": 5}]},
        {"serviceAccountName": ["x"]},
        {"serviceAccountName": 5},
    ],
)
async def test_fields_of_a_wrong_type_are_refused(api: Api, spec: Any) -> None:
    async with api.session.post(api.server.url + PODS, json=pod(**spec)) as response:
        assert response.status in (400, 403, 422), await response.text()
