"""The built-in kinds that the server knows, as data.

Owns their names, scopes, subresources, selectable fields, columns, defaults and checks. `build_kinds` lists them all;
a kind that is not here does not exist on this server unless a CustomResourceDefinition brings it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from watchbill_local.server import kind_rules as rules
from watchbill_local.server import kind_tables as tables
from watchbill_local.server import pod_rules
from watchbill_local.server.crds import CRD_GROUP, CRD_PLURAL, check_crd, fill_crd
from watchbill_local.server.resource import Resource
from watchbill_local.server.values import Obj

Column = dict[str, Any]


def column(name: str, *, kind: str = "string", priority: int = 0, text_format: str = "") -> Column:
    """Return one columnDefinition; priority 1 shows with `-o wide` alone."""
    return {"name": name, "type": kind, "format": text_format, "description": name, "priority": priority}


def columns(narrow: Sequence[str], wide: Sequence[str] = ()) -> tuple[Column, ...]:
    """Return the columns Name, `narrow`, Age, `wide`, in the order of `kind_tables.build_plain_row`."""
    between = [column(name) for name in narrow]
    return (NAME, *between, AGE, *[column(name, priority=1) for name in wide])


NAME, AGE = column("Name", text_format="name"), column("Age")
PLAIN_COLUMNS, PLAIN_ROW = (NAME, AGE), tables.build_plain_row([])

POD_COLUMNS = (
    NAME,
    column("Ready"),
    column("Status"),
    column("Restarts"),
    AGE,
    column("IP", priority=1),
    column("Node", priority=1),
    column("Nominated Node", priority=1),
    column("Readiness Gates", priority=1),
)
POD_FIELDS = frozenset(
    {
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    }
)
EVENT_COLUMNS = (
    column("Last Seen"),
    column("Type"),
    column("Reason"),
    column("Object"),
    column("Subobject", priority=1),
    column("Source", priority=1),
    column("Message"),
    column("First Seen", priority=1),
    column("Count", priority=1),
    column("Name", priority=1, text_format="name"),
)
EVENT_FIELDS = frozenset(
    {"reason", "reportingComponent", "source", "type"}
    | {
        f"involvedObject.{key}"
        for key in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
    }
)
NEW_EVENT_FIELDS = frozenset(
    {"reason", "reportingController", "type"}
    | {f"regarding.{key}" for key in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")}
)


def build_kinds() -> list[Resource]:
    """Return all built-in kinds."""
    return [
        *_build_workload_kinds(),
        *_build_data_kinds(),
        *_build_event_kinds(),
        *_build_cluster_kinds(),
        *_build_stored_only_kinds(),
    ]


def _build_workload_kinds() -> list[Resource]:
    pods = Resource(
        group="",
        version="v1",
        plural="pods",
        kind="Pod",
        short_names=("po",),
        categories=("all",),
        subresources=("binding", "ephemeralcontainers", "eviction", "log", "status"),
        field_selectors=POD_FIELDS,
        columns=POD_COLUMNS,
        row=tables.build_pod_row,
        fill=pod_rules.fill_pod,
        check=pod_rules.check_pod,
        has_generation=True,
    )
    services = Resource(
        group="",
        version="v1",
        plural="services",
        kind="Service",
        short_names=("svc",),
        categories=("all",),
        subresources=("status",),
        field_selectors=frozenset({"spec.clusterIP", "spec.type"}),
        columns=columns(["Type", "Cluster-IP", "External-IP", "Port(s)"], ["Selector"]),
        row=tables.build_plain_row(
            [
                tables.at("spec", "type"),
                tables.at("spec", "clusterIP", default=tables.NONE),
                lambda value: tables.NONE,
                tables.build_ports,
            ],
            [tables.build_selector],
        ),
        fill=rules.fill_service,
        name_rule="label",
    )
    return [pods, services]


def _build_data_kinds() -> list[Resource]:
    config_maps = Resource(
        group="",
        version="v1",
        plural="configmaps",
        kind="ConfigMap",
        short_names=("cm",),
        columns=columns(["Data"]),
        row=tables.build_plain_row([tables.count_of("data", "binaryData")]),
        check=rules.check_string_maps,
    )
    secrets = Resource(
        group="",
        version="v1",
        plural="secrets",
        kind="Secret",
        field_selectors=frozenset({"type"}),
        columns=columns(["Type", "Data"]),
        row=tables.build_plain_row([tables.at("type"), tables.count_of("data")]),
        fill=rules.fill_secret,
        check=rules.check_string_maps,
    )
    claims = Resource(
        group="",
        version="v1",
        plural="persistentvolumeclaims",
        kind="PersistentVolumeClaim",
        short_names=("pvc",),
        subresources=("status",),
        columns=columns(["Status", "Volume", "Capacity", "Access Modes", "StorageClass"], ["VolumeMode"]),
        row=tables.build_plain_row(
            [
                tables.at("status", "phase"),
                tables.at("spec", "volumeName"),
                tables.at("status", "capacity", "storage"),
                tables.build_access_modes,
                tables.at("spec", "storageClassName"),
            ],
            [tables.at("spec", "volumeMode")],
        ),
        fill=rules.fill_claim,
    )
    return [config_maps, secrets, claims]


def _build_event_kinds() -> list[Resource]:
    core = Resource(
        group="",
        version="v1",
        plural="events",
        kind="Event",
        short_names=("ev",),
        field_selectors=EVENT_FIELDS,
        columns=EVENT_COLUMNS,
        row=tables.build_event_row,
        check=rules.check_event,
    )
    view = Resource(
        group="events.k8s.io",
        version="v1",
        plural="events",
        kind="Event",
        short_names=("ev",),
        field_selectors=NEW_EVENT_FIELDS,
        columns=EVENT_COLUMNS,
        row=lambda value, now: tables.build_event_row(rules.build_core_event(value), now),
        storage_group="",
        from_storage=rules.build_new_event,
        to_storage=rules.build_core_event,
        is_storage_version=False,
    )
    return [core, view]


def _build_cluster_kinds() -> list[Resource]:
    namespaces = Resource(
        group="",
        version="v1",
        plural="namespaces",
        kind="Namespace",
        namespaced=False,
        short_names=("ns",),
        subresources=("finalize", "status"),
        verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
        field_selectors=frozenset({"status.phase"}),
        columns=columns(["Status"]),
        row=tables.build_plain_row([tables.at("status", "phase")]),
        fill=rules.fill_namespace,
        name_rule="label",
    )
    nodes = Resource(
        group="",
        version="v1",
        plural="nodes",
        kind="Node",
        namespaced=False,
        short_names=("no",),
        subresources=("status",),
        field_selectors=frozenset({"spec.unschedulable"}),
        columns=(NAME, column("Status"), column("Roles"), AGE, column("Version"), *_node_wide_columns()),
        row=_build_node_row,
    )
    definitions = Resource(
        group=CRD_GROUP,
        version="v1",
        plural=CRD_PLURAL,
        kind="CustomResourceDefinition",
        namespaced=False,
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        subresources=("status",),
        columns=(NAME, column("Created At", kind="date")),
        row=lambda value, now: [value["metadata"]["name"], value["metadata"].get("creationTimestamp")],
        fill=fill_crd,
        check=check_crd,
        has_generation=True,
    )
    return [namespaces, nodes, definitions]


def _node_wide_columns() -> list[Column]:
    names = ("Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime")
    return [column(name, priority=1) for name in names]


def _build_node_row(value: Obj, now: float) -> list[Any]:
    info = ("status", "nodeInfo")
    unknown = "<unknown>"
    return [
        value["metadata"]["name"],
        tables.build_node_status(value),
        tables.build_node_roles(value),
        tables.build_age(value, now),
        tables.at(*info, "kubeletVersion")(value),
        tables.build_node_address("InternalIP")(value),
        tables.build_node_address("ExternalIP")(value),
        tables.at(*info, "osImage", default=unknown)(value),
        tables.at(*info, "kernelVersion", default=unknown)(value),
        tables.at(*info, "containerRuntimeVersion", default=unknown)(value),
    ]


def _build_stored_only_kinds() -> list[Resource]:
    """Return the kinds that are kept and shown and mean nothing here: no role is enforced, no account has a token."""
    accounts = Resource(
        group="",
        version="v1",
        plural="serviceaccounts",
        kind="ServiceAccount",
        short_names=("sa",),
        columns=columns(["Secrets"]),
        row=tables.build_plain_row([tables.count_of("secrets")]),
    )
    leases = Resource(
        group="coordination.k8s.io",
        version="v1",
        plural="leases",
        kind="Lease",
        columns=columns(["Holder"]),
        row=tables.build_plain_row([tables.at("spec", "holderIdentity")]),
        check=rules.check_lease,
    )
    created = (NAME, column("Created At", kind="date"))
    roles = [
        Resource(
            group="rbac.authorization.k8s.io",
            version="v1",
            plural=f"{kind.lower()}s",
            kind=kind,
            namespaced=namespaced,
            columns=created,
            row=lambda value, now: [value["metadata"]["name"], value["metadata"].get("creationTimestamp")],
            name_rule="path",
        )
        for kind, namespaced in (("Role", True), ("ClusterRole", False))
    ]
    bindings = [
        Resource(
            group="rbac.authorization.k8s.io",
            version="v1",
            plural=f"{kind.lower()}s",
            kind=kind,
            namespaced=namespaced,
            columns=(NAME, column("Role"), AGE),
            row=tables.build_plain_row([tables.build_role_ref]),
            name_rule="path",
        )
        for kind, namespaced in (("RoleBinding", True), ("ClusterRoleBinding", False))
    ]
    return [accounts, leases, *roles, *bindings]
