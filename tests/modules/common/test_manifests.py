"""The CRDs of deploy/crds, as they are loaded."""

from __future__ import annotations

import pytest
import yaml

from modules.common.crds import manifests

ALL = (*manifests.NAMES, *manifests.SYNCS)


@pytest.mark.parametrize("plural", ALL)
def test_a_crd_is_what_its_file_says(plural: str) -> None:
    assert manifests.load(plural) == yaml.safe_load(manifests.text(plural))


def test_a_caller_that_changes_a_crd_changes_it_for_no_other() -> None:
    manifests.load("devices", status_subresource=False)["spec"]["versions"].clear()
    versions = manifests.load("devices")["spec"]["versions"]
    assert [version["name"] for version in versions] == ["v1beta1", "v1alpha1"]
    assert "subresources" in versions[1]
