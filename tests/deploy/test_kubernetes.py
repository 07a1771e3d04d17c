"""The manifests against the API's own schemas, and against what they say of each other."""

import copy
import re
import runpy
import shutil
import subprocess

import kubernetes_validate
import pytest
import yaml
from kustomize import render
from tools import DEPLOY, PROMETHEUS, load, stages

from harness.paths import ROOT, program

FOLDERS = [DEPLOY / "kubernetes" / "base", *sorted((DEPLOY / "kubernetes" / "overlays").iterdir())]
VIEWER = DEPLOY / "kubernetes" / "viewer"
# Resources of operators: their schemas are not Kubernetes' own.
FOREIGN = {"ServiceMonitor", "PrometheusRule"}
# sleep as a preStop is of 1.30 and later without a feature gate.
VERSIONS = ["1.31", "1.34", "1.37"]
GRPC_SHUTDOWN_SECONDS = 2  # of Server::Stop
SPARE_SECONDS = 5


def seconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(ms|s|m|h)?", text).groups()
    return float(number) * {"ms": 1e-3, "m": 60, "h": 3600}.get(unit, 1)


def one(objects: list[dict], kind: str) -> dict:
    (found,) = [item for item in objects if item["kind"] == kind]
    return found


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def objects(request):
    return render(request.param)


@pytest.fixture
def base():
    return render(FOLDERS[0])


@pytest.fixture
def pod(objects):
    return one(objects, "Deployment")["spec"]["template"]["spec"]


@pytest.mark.parametrize("version", VERSIONS)
def test_schemas(objects, version):
    for item in objects:
        if item["kind"] not in FOREIGN:
            kubernetes_validate.validate(item, version, strict=True)


@pytest.mark.parametrize(
    "alter",
    [
        lambda spec: spec["containers"][0].update(imagePullPolice="Never"),
        lambda spec: spec["containers"][0]["readinessProbe"]["grpc"].update(port="grpc"),
        lambda spec: spec.update(terminationGracePeriodSeconds="75s"),
    ],
)
def test_schemas_would_find_a_mistake(base, alter):
    deployment = copy.deepcopy(one(base, "Deployment"))
    alter(deployment["spec"]["template"]["spec"])
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, "1.34", strict=True)


@pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl to compare the renderer with")
@pytest.mark.parametrize("folder", [*FOLDERS, VIEWER], ids=lambda folder: folder.name)
def test_renderer_agrees_with_kubectl(folder):
    said = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, timeout=30, check=True
    ).stdout
    key = lambda item: (item["kind"], item["metadata"]["name"])  # noqa: E731
    assert sorted(yaml.safe_load_all(said), key=key) == sorted(render(folder), key=key)


def test_namespace_enforces_the_restricted_standard(objects):
    enforced = one(objects, "Namespace")["metadata"]["labels"]
    assert enforced["pod-security.kubernetes.io/enforce"] == "restricted"


def check_restricted(pod: dict) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert not [volume for volume in pod.get("volumes", []) if "hostPath" in volume]


def check_user(pod: dict, stage: str) -> None:
    context = pod["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == " ".join(stages()[stage]["USER"])


def test_pod_meets_the_restricted_standard(pod):
    check_restricted(pod)


def test_user_is_the_images(pod):
    check_user(pod, "server")


def test_drain_fits_the_grace_period(pod):
    container = pod["containers"][0]
    args = container["args"]
    drain = seconds(args[args.index("--drain-grace") + 1])
    pre_stop = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = pre_stop + drain + GRPC_SHUTDOWN_SECONDS + SPARE_SECONDS
    assert pod["terminationGracePeriodSeconds"] >= needed


def test_flags_are_the_servers(pod):
    source = (ROOT / "server" / "flags.cc").read_text()
    known = set(re.findall(r'"(--[a-z-]+)"', source))
    container = pod["containers"][0]
    assert {arg for arg in container["args"] if arg.startswith("--")} <= known
    variables = {"DENOISED_" + flag[2:].replace("-", "_").upper() for flag in known}
    assert {variable["name"] for variable in container["env"]} <= variables


def test_ports_agree(objects, pod):
    container = pod["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    listens = {
        variable["name"]: int(variable["value"].rpartition(":")[2])
        for variable in container["env"]
        if variable["name"].endswith("LISTEN")
    }
    assert listens == {"DENOISED_LISTEN": ports["grpc"], "DENOISED_METRICS_LISTEN": ports["metrics"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"] == {"port": ports["grpc"]}
    service = one(objects, "Service")["spec"]
    assert service["clusterIP"] == "None", "round_robin needs all addresses"
    assert {port["targetPort"]: port["port"] for port in service["ports"]} == ports
    policy = one(objects, "NetworkPolicy")["spec"]
    assert {rule["ports"][0]["port"] for rule in policy["ingress"]} == set(ports)
    assert "egress" not in policy and "Egress" in policy["policyTypes"], "the server calls no one"


def test_selectors_match_the_pods(objects):
    deployment = one(objects, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        one(objects, "Service")["spec"]["selector"],
        one(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector and selector.items() <= labels


def test_mounts_have_volumes(objects, pod):
    mounts = {mount["name"] for mount in pod["containers"][0].get("volumeMounts", [])}
    volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
    assert mounts == volumes.keys()
    assert "tmp" in volumes and volumes["tmp"]["emptyDir"]["sizeLimit"], "the root file system is read-only"
    claims = {item["metadata"]["name"] for item in objects if item["kind"] == "PersistentVolumeClaim"}
    claimed = [volume["persistentVolumeClaim"] for volume in volumes.values() if "persistentVolumeClaim" in volume]
    assert {claim["claimName"] for claim in claimed} == claims


def test_monitor_finds_the_service(base):
    service, monitor = one(base, "Service"), one(base, "ServiceMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    names = {port["name"] for port in service["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["endpoints"]} <= names
    assert service["metadata"]["name"] == "denoised", "the job, as the alerts name it"


def test_rule_is_written_from_the_rules_of_prometheus(base):
    """By make_rules.py, whose output the file is; and so the groups are the same."""
    script = runpy.run_path(str(DEPLOY / "kubernetes" / "make_rules.py"))
    assert script["TARGET"].read_text() == script["rules"](), "run deploy/kubernetes/make_rules.py"
    groups = [group for name in ("recording.yml", "alerts.yml") for group in load(PROMETHEUS / name)["groups"]]
    assert one(base, "PrometheusRule")["spec"] == {"groups": groups}


def test_rule_is_understood_by_promtool(base, tmp_path):
    spec = tmp_path / "rules.yml"
    spec.write_text(yaml.safe_dump(one(base, "PrometheusRule")["spec"]))
    done = subprocess.run(
        [program("promtool"), "check", "rules", str(spec)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_trial_needs_no_operator():
    (trial,) = [folder for folder in FOLDERS if folder.name == "trial"]
    assert not {item["kind"] for item in render(trial)} & FOREIGN


def test_autoscaler_scales_the_deployment_by_what_the_adapter_offers(base):
    scaler, deployment = one(base, "HorizontalPodAutoscaler")["spec"], one(base, "Deployment")
    assert scaler["scaleTargetRef"] == {
        "apiVersion": deployment["apiVersion"],
        "kind": "Deployment",
        "name": deployment["metadata"]["name"],
    }
    assert "replicas" not in deployment["spec"]
    (rule,) = load(DEPLOY / "kubernetes" / "prometheus-adapter.yaml")["rules"]["custom"]
    pattern = re.search(r'__name__=~"([^"]+)"', rule["seriesQuery"]).group(1)
    for metric in scaler["metrics"]:
        assert re.fullmatch(pattern, metric["pods"]["metric"]["name"])


def version() -> str:
    return re.search(r"project\([^)]*VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text()).group(1)


def container(objects: list[dict]) -> dict:
    return one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]


def test_image_is_of_this_version(base):
    assert container(base)["image"] == f"denoised:{version()}"


@pytest.fixture
def gpu():
    return render(DEPLOY / "kubernetes" / "overlays" / "gpu")


def test_gpu_servers_have_the_devices_that_they_name(gpu):
    args = container(gpu)["args"]
    devices = args[args.index("--devices") + 1].split(",")
    resources = container(gpu)["resources"]
    assert devices == [f"cuda:{i}" for i in range(int(resources["limits"]["nvidia.com/gpu"]))]
    assert int(resources["limits"]["cpu"]) > len(devices), "an engine spins while it waits"


def test_gpu_differs_from_base_in_its_devices_alone(base, gpu):
    args = container(gpu)["args"]
    place = args.index("--devices")
    assert args[:place] + args[place + 2 :] == container(base)["args"]
    assert container(gpu)["image"] == f"denoised:{version()}-cuda"
    assert (ROOT / "requirements" / "torch-cuda.txt").exists(), "what the Dockerfile's TORCH names"


def test_gpu_servers_are_replaced_without_a_spare_device(gpu):
    deployment = one(gpu, "Deployment")["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert one(gpu, "HorizontalPodAutoscaler")["spec"]["minReplicas"] > 1, "one is away at times"
    (toleration,) = deployment["template"]["spec"]["tolerations"]
    assert toleration["key"] == "nvidia.com/gpu"


# --- The viewer.


@pytest.fixture
def viewer():
    return render(VIEWER)


@pytest.mark.parametrize("version", VERSIONS)
def test_viewer_schemas(viewer, version):
    for item in viewer:
        kubernetes_validate.validate(item, version, strict=True)


def test_viewer_is_restricted_and_itself(viewer, base):
    pod = one(viewer, "Deployment")["spec"]["template"]["spec"]
    check_restricted(pod)
    check_user(pod, "viewer")
    assert {item["metadata"]["namespace"] for item in viewer} == {one(base, "Namespace")["metadata"]["name"]}
    version = one(base, "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"].split(":")[1]
    assert pod["containers"][0]["image"] == f"denoise-viewer:{version}"


def test_viewer_reaches_the_servers(viewer, base):
    """Its variables are its flags, its ports are one, and both policies let it through."""
    pod = one(viewer, "Deployment")["spec"]["template"]
    container = pod["spec"]["containers"][0]
    source = (ROOT / "client" / "viewer" / "main.cc").read_text()
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    assert variables.keys() <= set(re.findall(r'envname\("(\w+)"\)', source))
    service, servers = one(viewer, "Service"), one(base, "Service")
    (port,) = container["ports"]
    assert variables["DENOISE_VIEWER_LISTEN"] == f"0.0.0.0:{port['containerPort']}"
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    ports = {each["name"]: each["port"] for each in servers["spec"]["ports"]}
    assert variables["DENOISE_VIEWER_SERVER"] == f"dns:///{servers['metadata']['name']}:{ports['grpc']}"
    for probe in ("readinessProbe", "livenessProbe"):
        (header,) = container[probe]["httpGet"]["httpHeaders"]
        assert header == {"name": "Host", "value": f"localhost:{port['containerPort']}"}
    for selector in (
        service["spec"]["selector"],
        one(viewer, "Deployment")["spec"]["selector"]["matchLabels"],
        one(viewer, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= pod["metadata"]["labels"].items()
    out = one(viewer, "NetworkPolicy")["spec"]["egress"]
    labels = one(base, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert out[1]["to"][0]["podSelector"]["matchLabels"].items() <= labels.items()
    (calls,) = [rule for rule in one(base, "NetworkPolicy")["spec"]["ingress"] if rule["ports"][0]["port"] == "grpc"]
    assert {"podSelector": {}} in calls["from"], "of the servers' own namespace"
