"""As much of `kustomize build` as deploy/kubernetes uses, for machines without kustomize: resources,
namespace, images, and patches (JSON 6902, and `$patch: delete`). Anything else is refused, never left
out. test_kubernetes.py compares it with kubectl's own where there is one."""

import copy
from pathlib import Path

import yaml
from tools import load

KEYS = {"apiVersion", "kind", "namespace", "images", "resources", "patches"}
CLUSTER_SCOPED = {"Namespace"}


def render(folder: Path) -> list[dict]:
    """The objects that `kubectl apply -k folder` would send."""
    kustomization = load(folder / "kustomization.yaml")
    unknown = kustomization.keys() - KEYS
    assert not unknown, f"{folder}: this renderer does not know {sorted(unknown)}"
    objects = []
    for name in kustomization["resources"]:
        path = folder / name
        objects += render(path.resolve()) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))
    for patch in kustomization.get("patches", []):
        objects = _patched(objects, patch)
    for item in objects:
        if "namespace" in kustomization and item["kind"] not in CLUSTER_SCOPED:
            item["metadata"]["namespace"] = kustomization["namespace"]
        for image in kustomization.get("images", []):
            _set_image(item, image)
    return objects


def _set_image(item: dict, image: dict) -> None:
    assert image.keys() == {"name", "newTag"}, image
    template = item.get("spec", {}).get("template", {})
    for container in template.get("spec", {}).get("containers", []):
        if container["image"] == image["name"]:
            container["image"] = f"{image['name']}:{image['newTag']}"


def _patched(objects: list[dict], patch: dict) -> list[dict]:
    content = yaml.safe_load(patch["patch"])
    if isinstance(content, dict):
        assert content.keys() == {"$patch", "apiVersion", "kind", "metadata"}, content
        assert content["$patch"] == "delete", content
        kept = [item for item in objects if not _is(item, content["kind"], content["metadata"]["name"])]
        assert len(kept) == len(objects) - 1, f"{content} is not there once"
        return kept
    assert patch["target"].keys() == {"kind", "name"}, patch["target"]
    result = copy.deepcopy(objects)
    targets = [item for item in result if _is(item, **patch["target"])]
    assert targets, f"no {patch['target']}"
    for target in targets:
        for operation in content:
            _apply(target, operation)
    return result


def _is(item: dict, kind: str, name: str) -> bool:
    return item["kind"] == kind and item["metadata"]["name"] == name


def _apply(item: dict, operation: dict) -> None:
    """RFC 6902's add, replace and remove, in maps, and replace and remove in lists."""
    *folders, last = operation["path"].lstrip("/").split("/")
    place = item
    for key in folders:
        place = place[int(key)] if isinstance(place, list) else place[key]
    if isinstance(place, list):
        last = int(last)
        assert operation["op"] != "add", f"add to a list: {operation}"
    if operation["op"] != "add":
        place[last]  # must be there
    if operation["op"] == "remove":
        del place[last]
    else:
        assert operation["op"] in ("add", "replace"), operation
        place[last] = operation["value"]
