"""Who reaches the webserver and the code location on Kubernetes, by the manifests of `deploy/kubernetes`.

`POD_LABELS` are what the Helm chart (1.13) puts on the pods of a release named `dagster`; the policies are evaluated as
Kubernetes defines them.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import kubernetes.client.models
import pytest
import yaml
from dagster_k8s.models import k8s_model_from_dict, k8s_snake_case_dict

from cata_pipeline.demo.surroundings import PROJECT

FOLDER = PROJECT / "deploy" / "kubernetes"
FILES = ("environment.yaml", "ingress-policy.yaml", "network-policy.yaml", "web-ui.yaml")
OF_THE_RELEASE = {"app.kubernetes.io/name": "dagster", "app.kubernetes.io/instance": "dagster"}
OUR_NAMESPACE, CONTROLLER = "cata", "ingress controller"
POD_LABELS = {
    "webserver": OF_THE_RELEASE | {"component": "dagster-webserver"},
    "daemon": OF_THE_RELEASE | {"component": "dagster-daemon", "deployment": "daemon"},
    "code location": {
        "app.kubernetes.io/name": "dagster-user-deployments",
        "app.kubernetes.io/instance": "dagster",
        "component": "user-deployments",
        "deployment": "cata-pipeline",
        "cata-pipeline/egress": "pipeline",
    },
    "run": OF_THE_RELEASE | {"app.kubernetes.io/component": "run_worker", "cata-pipeline/egress": "pipeline"},
    "stranger": {"app": "stranger"},
}


def documents(*names: str) -> list[dict[str, Any]]:
    return [document for name in names for document in yaml.safe_load_all((FOLDER / name).read_text())]


def only(kind: str) -> dict[str, Any]:
    [found] = [document for document in documents("web-ui.yaml") if document["kind"] == kind]
    return found


def labels(pod: str) -> dict[str, str]:
    proxy = only("Deployment")["spec"]["template"]["metadata"]["labels"]
    return POD_LABELS.get(pod) or ({"app.kubernetes.io/name": CONTROLLER} if pod == CONTROLLER else dict(proxy))


def matches(selector: Mapping[str, Any], found: Mapping[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels"}
    return bool(selector.get("matchLabels", {}).items() <= found.items())


def is_peer(peer: Mapping[str, Any], source: str) -> bool:
    assert peer.keys() <= {"podSelector", "namespaceSelector"}
    namespace = "INGRESS_NAMESPACE" if source == CONTROLLER else OUR_NAMESPACE
    if "namespaceSelector" in peer:
        is_there = matches(peer["namespaceSelector"], {"kubernetes.io/metadata.name": namespace})
    else:
        is_there = namespace == OUR_NAMESPACE
    return is_there and matches(peer.get("podSelector", {}), labels(source))


def admits(target: str, source: str, port: int) -> bool:
    """Whether a pod accepts a connection: any does that no policy selects, else what one of those policies allows."""
    policies = [
        document["spec"]
        for document in documents("ingress-policy.yaml", "network-policy.yaml")
        if "Ingress" in document["spec"]["policyTypes"] and matches(document["spec"]["podSelector"], labels(target))
    ]
    return not policies or any(
        any(is_peer(peer, source) for peer in rule["from"]) and {"protocol": "TCP", "port": port} in rule["ports"]
        for policy in policies
        for rule in policy.get("ingress", [])
    )


@pytest.mark.parametrize("document", documents(*FILES), ids=lambda it: f"{it['kind']}-{it['metadata']['name']}")
def test_every_manifest_has_only_fields_that_kubernetes_knows(document: dict[str, Any]) -> None:
    model = getattr(kubernetes.client.models, f"V1{document['kind']}")
    assert k8s_model_from_dict(model, k8s_snake_case_dict(model, document))


@pytest.mark.parametrize(
    ("target", "port", "sources"),
    [
        ("webserver", 80, {"proxy"}),
        ("webserver", 3030, set()),
        ("code location", 3030, {"daemon", "webserver"}),
        ("code location", 80, set()),
        ("proxy", 4180, {CONTROLLER}),
        ("proxy", 80, set()),
        ("daemon", 80, set()),
        ("run", 3030, set()),
    ],
)
def test_a_pod_admits_only_those_it_serves(target: str, port: int, sources: set[str]) -> None:
    assert {source for source in ("proxy", CONTROLLER, *POD_LABELS) if admits(target, source, port)} == sources


def test_the_ingress_leads_to_the_proxy_alone_and_the_proxy_to_the_webserver() -> None:
    [values] = documents("values.yaml")
    assert "ingress" not in values, "the chart's own would lead around the proxy"
    assert values["dagsterWebserver"]["service"] == {"type": "ClusterIP", "port": 80}
    ingress, service, proxy = only("Ingress")["spec"], only("Service"), only("Deployment")["spec"]
    assert "defaultBackend" not in ingress
    [rule] = ingress["rules"]
    [path] = rule["http"]["paths"]
    assert path["backend"]["service"] == {"name": service["metadata"]["name"], "port": {"name": "http"}}
    assert [rule["host"]] == ingress["tls"][0]["hosts"]
    assert service["spec"].get("type", "ClusterIP") == "ClusterIP"
    assert service["spec"]["selector"].items() <= proxy["template"]["metadata"]["labels"].items()
    assert proxy["selector"]["matchLabels"].items() <= proxy["template"]["metadata"]["labels"].items()
    [container] = proxy["template"]["spec"]["containers"]
    options = dict(argument.removeprefix("--").split("=", 1) for argument in container["args"])
    # The chart names the service after the release and the component.
    assert urlsplit(options["upstream"]).netloc == "dagster-webserver:80"
    assert options["http-address"].endswith(f":{container['ports'][0]['containerPort']}")
    url = documents("environment.yaml")[0]["data"]["CATA_DAGSTER_URL"]
    assert url == f"https://{rule['host']}/"
    assert options["redirect-url"] == f"{url}oauth2/callback"


def test_the_proxy_lets_nobody_in_without_a_login() -> None:
    [container] = only("Deployment")["spec"]["template"]["spec"]["containers"]
    options = dict(argument.removeprefix("--").split("=", 1) for argument in container["args"])
    assert not [name for name in options if name.startswith(("skip-auth", "skip-jwt", "trusted-ip", "api-route"))]
    assert options["email-domain"] != "*"
    assert options["cookie-secure"] == "true"
    assert options["cookie-samesite"] in {"lax", "strict"}
    [source] = container["envFrom"]
    secret = only("Secret")
    assert source["secretRef"]["name"] == secret["metadata"]["name"]
    assert {"OAUTH2_PROXY_CLIENT_ID", "OAUTH2_PROXY_CLIENT_SECRET", "OAUTH2_PROXY_COOKIE_SECRET"} == secret[
        "stringData"
    ].keys()
