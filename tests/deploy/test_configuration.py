"""What the files of deploy/ say, and that they say the same."""

import os
import re
import shutil
import subprocess
import types

import pytest
import yaml
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from . import servers
from .conftest import DEPLOY

ROOT = DEPLOY.parent

# Of the messages that tensorflow-serving-api leaves out: the fields, as in
# tensorflow_serving/servables/tensorflow/session_bundle_config.proto and
# tensorflow_serving/config/monitoring_config.proto.
FIELDS = {
    "BatchingParameters": {
        "max_batch_size": "Int64Value",
        "batch_timeout_micros": "Int64Value",
        "max_enqueued_batches": "Int64Value",
        "num_batch_threads": "Int64Value",
        "thread_pool_name": "StringValue",
        "allowed_batch_sizes": "repeated int64",
        "pad_variable_length_inputs": "bool",
    },
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "MonitoringConfig": {"prometheus_config": "PrometheusConfig"},
}


def message_classes():
    """Protobuf classes with those fields, by the names of the messages."""
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="deploy_test.proto", package="deploy_test", syntax="proto3"
    )
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for message, fields in FIELDS.items():
        described = file.message_type.add(name=message)
        for number, (name, kind) in enumerate(fields.items(), start=1):
            label, _, kind = kind.rpartition(" ")
            field = described.field.add(name=name, number=number)
            field.label = getattr(
                field_type, f"LABEL_{label.upper() or 'OPTIONAL'}"
            )
            if kind.endswith("Value"):
                field.type_name = f".google.protobuf.{kind}"
            elif kind in FIELDS:
                field.type_name = f".deploy_test.{kind}"
            else:
                field.type = getattr(field_type, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"deploy_test.{name}")
        )
        for name in FIELDS
    }


@pytest.fixture(scope="module")
def compose():
    """The one service of the compose file."""
    text = (DEPLOY / "docker-compose.yml").read_text()
    (service,) = yaml.safe_load(text)["services"].values()
    return service


@pytest.fixture(scope="module")
def manifest():
    """The objects of the Kubernetes manifest, by kind."""
    text = (DEPLOY / "kubernetes" / "serve.yaml").read_text()
    documents = list(yaml.safe_load_all(text))
    kinds = {document["kind"]: document for document in documents}
    assert len(kinds) == len(documents)
    return kinds


@pytest.fixture(scope="module")
def pod(manifest):
    """What the deployment makes pods from."""
    return manifest["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def container(pod):
    """Its one container."""
    (container,) = pod["containers"]
    return container


@pytest.fixture(scope="module")
def parse():
    """Parses the text of a config as the server would."""
    classes = message_classes()
    kinds = {
        "models.config": model_server_config_pb2.ModelServerConfig,
        "batching.config": classes["BatchingParameters"],
        "monitoring.config": classes["MonitoringConfig"],
    }

    def parse(name, text=None):
        text = text or (DEPLOY / name).read_text()
        return text_format.Parse(text, kinds[name]())

    return parse


@pytest.fixture(scope="module")
def model(parse):
    """The one model of models.config."""
    (model,) = parse("models.config").model_config_list.config
    return model


def test_model(model):
    assert (model.name, model.model_platform) == ("encoder", "tensorflow")
    assert model.model_version_policy.latest.num_versions == 1


def test_batching(parse):
    batching = parse("batching.config")
    sizes = list(batching.allowed_batch_sizes)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == batching.max_batch_size.value
    assert batching.num_batch_threads.value >= 1
    # Images of other sizes would be filled up with black.
    assert not batching.pad_variable_length_inputs


@pytest.mark.parametrize("name", ["grpc_client", "rest_client"])
def test_requests_of_clients_are_not_too_large(parse, name):
    text = (DEPLOY / "clients" / f"{name}.py").read_text()
    batch = int(re.search(r"^BATCH = (\d+)$", text, re.MULTILINE)[1])
    assert batch <= parse("batching.config").max_batch_size.value


def test_batching_parameters_with_unknown_fields_are_refused(parse):
    with pytest.raises(text_format.ParseError, match="max_batch_sizes"):
        parse("batching.config", "max_batch_sizes { value: 32 }")


def test_image_is_pinned_and_the_same(compose, container):
    assert re.fullmatch(r"tensorflow/serving:\d+\.\d+\.\d+", compose["image"])
    assert container["image"] == compose["image"]
    assert compose["platform"] == "linux/amd64"


def test_ports_are_those_of_the_loopback_address(compose):
    assert compose["ports"] == [
        "127.0.0.1:${GRPC_PORT:-8500}:8500",
        "127.0.0.1:${REST_PORT:-8501}:8501",
    ]
    assert "network_mode" not in compose


def test_flags(compose, container):
    assert compose["entrypoint"] == container["command"]
    own = [a for a in container["args"] if a not in compose["command"]]
    assert [a for a in container["args"] if a not in own] == compose["command"]
    assert [a.partition("=")[0] for a in own] == [
        "--tensorflow_intra_op_parallelism",
        "--tensorflow_inter_op_parallelism",
    ]
    cpus = container["resources"]["limits"]["cpu"]
    assert {a.partition("=")[2] for a in own} == {cpus}
    assert {"--port=8500", "--rest_api_port=8501", "--enable_batching"} <= set(
        compose["command"]
    )


def config_files(flags):
    """The names of the files that flags read from /config."""
    return set(re.findall("=/config/(.*)", "\n".join(flags)))


def test_mounts(compose, model):
    mounts = {mount["target"]: mount for mount in compose["volumes"]}
    assert set(mounts) == {model.base_path, "/config"}
    versions, config = mounts[model.base_path], mounts["/config"]
    assert versions["source"] == "../savedmodels/${MODEL:-shapes}"
    assert (DEPLOY / ".." / "savedmodels").is_dir()
    assert versions["read_only"] and config["read_only"]
    files = config_files(compose["command"])
    assert len(files) == 3
    for name in files:
        assert (DEPLOY / config["source"] / name).is_file()


def test_config_map_holds_the_same(manifest, pod, container, parse):
    files = manifest["ConfigMap"]["data"]
    assert set(files) == config_files(container["args"])
    for name, text in files.items():
        assert parse(name, text) == parse(name)
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
    assert volumes[mounts["/config"]]["configMap"] == {
        "name": manifest["ConfigMap"]["metadata"]["name"]
    }


def test_versions_come_from_the_claim(manifest, pod, container, model):
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
    claim = volumes[mounts[model.base_path]]["persistentVolumeClaim"]
    name = manifest["PersistentVolumeClaim"]["metadata"]["name"]
    assert claim["claimName"] == name


def test_nothing_is_reachable_from_outside(manifest, pod, container):
    assert set(manifest) == {
        "ConfigMap",
        "PersistentVolumeClaim",
        "Deployment",
        "Service",
    }
    service = manifest["Service"]["spec"]
    assert service["type"] == "ClusterIP"
    assert not {"externalIPs", "externalName"} & set(service)
    assert "hostNetwork" not in pod
    for port in (*service["ports"], *container["ports"]):
        assert not {"nodePort", "hostPort"} & set(port)


def test_service_leads_to_the_pods(manifest, container):
    service = manifest["Service"]["spec"]
    template = manifest["Deployment"]["spec"]["template"]
    assert service["selector"] == template["metadata"]["labels"]
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    for port in service["ports"]:
        assert ports[port["targetPort"]] == port["port"]


def test_pods_run_without_privileges(pod, container):
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    resources = container["resources"]
    assert set(resources["limits"]) == set(resources["requests"])


def test_memory_is_limited_alike(compose, container):
    limit = container["resources"]["limits"]["memory"]
    assert limit.removesuffix("Gi") + "g" == compose["mem_limit"]


def test_probes(container, compose, parse, manifest):
    for name in ("startupProbe", "readinessProbe"):
        command = container[name]["exec"]["command"]
        assert ["CMD", *command] == compose["healthcheck"]["test"]
    assert container["livenessProbe"]["tcpSocket"] == {"port": "grpc"}
    template = manifest["Deployment"]["spec"]["template"]
    annotations = template["metadata"]["annotations"]
    prometheus = parse("monitoring.config").prometheus_config
    assert prometheus.enable
    assert annotations["prometheus.io/path"] == prometheus.path
    assert annotations["prometheus.io/port"] == "8501"


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not here")
def test_health_check(compose, model):
    kind, *command = compose["healthcheck"]["test"]
    assert kind == "CMD"

    def check(address):
        port = address.rpartition(":")[2]
        filled = [part.replace("8501", port) for part in command]
        done = subprocess.run(filled, capture_output=True, timeout=20)
        return done.returncode

    for state in ("AVAILABLE", "LOADING", "UNLOADING", "END"):
        answer = servers.status_response(1, state)
        told = types.SimpleNamespace(name=model.name, status=lambda a=answer: a)
        with servers.serve_rest(told) as address:
            assert (check(address) == 0) == (state == "AVAILABLE")
    assert check(address) != 0  # nobody listens any more


@pytest.fixture
def make(tmp_path):
    """Runs make in an empty folder, with a docker that says what it gets."""
    (tmp_path / "bin").mkdir()

    def run(*arguments, has_compose=True):
        docker = tmp_path / "bin" / "docker"
        docker.write_text(
            "#!/bin/sh\n"
            f"[ {int(has_compose)} = 1 ] || exit 1\n"
            '[ "$2" = version ] || '
            'echo "$MODEL $GRPC_PORT $REST_PORT: $*"\n'
        )
        docker.chmod(0o755)
        return subprocess.run(
            ["make", "-s", "-f", str(ROOT / "Makefile"), *arguments],
            cwd=tmp_path,
            env={"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def export(folder, version="1"):
    """Something that looks like an export."""
    path = folder / version / "saved_model.pb"
    path.parent.mkdir(parents=True)
    path.touch()


def test_make_serve(make, tmp_path):
    export(tmp_path / "savedmodels" / "mine", "12")
    result = make("serve", "MODEL=mine", "REST_PORT=9000")
    assert result.returncode == 0, result.stderr
    assert result.stdout == (
        "mine 8500 9000: compose -f deploy/docker-compose.yml up\n"
    )


def test_make_serve_without_docker_or_model(make, tmp_path):
    result = make("serve", has_compose=False)
    assert result.returncode != 0
    assert result.stderr.startswith("error: docker compose is needed")
    export(tmp_path / "savedmodels" / "shapes", ".incomplete-1")
    result = make("serve")
    assert result.returncode != 0
    assert result.stderr.startswith("error: savedmodels/shapes has no version")
    for line in result.stderr.splitlines()[1:]:
        assert line.startswith("make: ***")
