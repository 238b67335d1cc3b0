"""In which versions devices are served, and by whose CRDs."""

from __future__ import annotations

import pytest

from modules.common.crds.device_versions import DeviceVersions

OLD = {"devices", "devicemodels"}
NEW = OLD | {"devicestatuses"}


@pytest.mark.parametrize(
    ("served", "whose", "known"),
    [
        ({"v1alpha1": OLD, "v1beta1": NEW}, "by cloudcore's CRDs: v1alpha1 for edges", True),
        ({"v1beta1": NEW}, "by the CRDs of KubeEdge 1.23: v1beta1 for edges", True),
        ({"v1beta1": OLD}, "by the CRDs of KubeEdge 1.15 to 1.22", True),
        ({"v1alpha1": OLD}, "by CRDs of an earlier KubeEdge: v1alpha1 for edges", True),
        ({"v1alpha2": OLD}, "by CRDs of an earlier KubeEdge: v1alpha2", False),
        ({"v1beta1": {"devices"}}, "the cluster lacks the CRDs of devices", False),
        ({}, "the cluster lacks the CRDs of devices", False),
    ],
)
def test_versions(served: dict[str, set[str]], whose: str, known: bool) -> None:
    versions = DeviceVersions(served)
    assert whose in str(versions)
    assert versions.are_known is known
