"""The types of the fields of built-in kinds that this server looks at, as data.

A shape is a type (`str`, `int`, `bool`; `float` for any number), a list of one shape (an empty one: of anything), or
members by name, where `*` stands for all members of a map. Fields that no rule, default or column reads are not here.
"""

from __future__ import annotations

from typing import TypeAlias

Shape: TypeAlias = type | list["Shape"] | dict[str, "Shape"]

STRINGS: Shape = {"*": str}
NAMED: Shape = [{"name": str}]

METADATA: Shape = {
    "name": str,
    "generateName": str,
    "namespace": str,
    "uid": str,
    "resourceVersion": str,
    "creationTimestamp": str,
    "deletionTimestamp": str,
    "labels": STRINGS,
    "annotations": STRINGS,
    "finalizers": [str],
    "ownerReferences": [
        {"apiVersion": str, "kind": str, "name": str, "uid": str, "controller": bool, "blockOwnerDeletion": bool}
    ],
}

CONDITIONS: Shape = [{"type": str, "status": str, "reason": str, "message": str}]

_PROBE: Shape = {"initialDelaySeconds": int, "periodSeconds": int, "timeoutSeconds": int, "failureThreshold": int}

CONTAINERS: Shape = [
    {
        "name": str,
        "image": str,
        "imagePullPolicy": str,
        "command": [str],
        "args": [str],
        "workingDir": str,
        "env": [{"name": str, "value": str, "valueFrom": {}}],
        "envFrom": [{}],
        "ports": [{"name": str, "containerPort": int, "hostPort": int, "protocol": str}],
        "resources": {"limits": {}, "requests": {}},
        "volumeMounts": [{"name": str, "mountPath": str, "subPath": str, "readOnly": bool}],
        "readinessProbe": _PROBE,
        "livenessProbe": _PROBE,
        "startupProbe": _PROBE,
        "securityContext": {},
        "terminationMessagePath": str,
        "terminationMessagePolicy": str,
    }
]

_TERMINATED: Shape = {"exitCode": int, "signal": int, "reason": str, "message": str, "finishedAt": str}
_STATE: Shape = {"running": {}, "waiting": {"reason": str, "message": str}, "terminated": _TERMINATED}
CONTAINER_STATUSES: Shape = [
    {"name": str, "ready": bool, "restartCount": int, "state": _STATE, "lastState": _STATE},
]

POD: Shape = {
    "spec": {
        "containers": CONTAINERS,
        "initContainers": CONTAINERS,
        "ephemeralContainers": NAMED,
        "volumes": NAMED,
        "tolerations": [{"key": str, "operator": str, "effect": str, "value": str, "tolerationSeconds": int}],
        "nodeSelector": STRINGS,
        "nodeName": str,
        "restartPolicy": str,
        "schedulerName": str,
        "serviceAccountName": str,
        "serviceAccount": str,
        "priority": int,
        "terminationGracePeriodSeconds": int,
        "activeDeadlineSeconds": int,
        "securityContext": {"runAsUser": int, "runAsGroup": int, "fsGroup": int, "runAsNonRoot": bool},
    },
    "status": {
        "phase": str,
        "reason": str,
        "message": str,
        "podIP": str,
        "nominatedNodeName": str,
        "conditions": CONDITIONS,
        "containerStatuses": CONTAINER_STATUSES,
        "initContainerStatuses": CONTAINER_STATUSES,
    },
}

NODE: Shape = {
    "spec": {"unschedulable": bool, "taints": [{"key": str, "effect": str}]},
    "status": {
        "addresses": [{"type": str, "address": str}],
        "conditions": CONDITIONS,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": int}},
        "nodeInfo": STRINGS,
    },
}

EVENT: Shape = {
    "involvedObject": STRINGS,
    "source": {"component": str, "host": str},
    "series": {"count": int, "lastObservedTime": str},
    "type": str,
    "reason": str,
    "message": str,
    "count": int,
    "firstTimestamp": str,
    "lastTimestamp": str,
    "eventTime": str,
    "reportingComponent": str,
}

NEW_EVENT: Shape = {
    "regarding": STRINGS,
    "series": {"count": int, "lastObservedTime": str},
    "type": str,
    "reason": str,
    "note": str,
    "eventTime": str,
    "reportingController": str,
    "deprecatedSource": {"component": str, "host": str},
    "deprecatedCount": int,
    "deprecatedFirstTimestamp": str,
    "deprecatedLastTimestamp": str,
}

SCHEMA: dict[str, Shape] = {
    "type": str,
    "format": str,
    "description": str,
    "pattern": str,
    "required": [str],
    "enum": [],
    "minimum": float,
    "maximum": float,
    "minLength": int,
    "maxLength": int,
    "minItems": int,
    "maxItems": int,
    "minProperties": int,
    "maxProperties": int,
    "exclusiveMinimum": bool,
    "exclusiveMaximum": bool,
    "uniqueItems": bool,
    "nullable": bool,
    "x-kubernetes-preserve-unknown-fields": bool,
    "x-kubernetes-int-or-string": bool,
    "x-kubernetes-embedded-resource": bool,
    "x-kubernetes-list-type": str,
    "x-kubernetes-list-map-keys": [str],
    "x-kubernetes-validations": [
        {
            "rule": str,
            "message": str,
            "messageExpression": str,
            "reason": str,
            "fieldPath": str,
            "optionalOldSelf": bool,
        }
    ],
}
SCHEMA["items"] = SCHEMA["not"] = SCHEMA
SCHEMA["properties"] = {"*": SCHEMA}
SCHEMA["allOf"] = SCHEMA["anyOf"] = SCHEMA["oneOf"] = [SCHEMA]

DEFINITION: Shape = {
    "spec": {
        "group": str,
        "scope": str,
        "names": {
            "plural": str,
            "singular": str,
            "kind": str,
            "listKind": str,
            "shortNames": [str],
            "categories": [str],
        },
        "conversion": {"strategy": str},
        "versions": [
            {
                "name": str,
                "served": bool,
                "storage": bool,
                "deprecated": bool,
                "deprecationWarning": str,
                "schema": {"openAPIV3Schema": SCHEMA},
                "subresources": {
                    "scale": {"specReplicasPath": str, "statusReplicasPath": str, "labelSelectorPath": str}
                },
                "selectableFields": [{"jsonPath": str}],
                "additionalPrinterColumns": [
                    {"name": str, "type": str, "jsonPath": str, "format": str, "description": str, "priority": int}
                ],
            }
        ],
    },
    "status": {
        "conditions": CONDITIONS,
        "storedVersions": [str],
        "acceptedNames": {"plural": str},
    },
}

BINDING: Shape = {"roleRef": {"apiGroup": str, "kind": str, "name": str}, "subjects": NAMED}
CLAIM_STATUS: Shape = {"phase": str, "capacity": {}, "accessModes": [str]}

KIND_TYPES: dict[tuple[str, str], Shape] = {
    ("", "Pod"): POD,
    ("", "Node"): NODE,
    ("", "Namespace"): {"spec": {"finalizers": [str]}, "status": {"phase": str, "conditions": CONDITIONS}},
    ("", "ConfigMap"): {"data": STRINGS, "binaryData": STRINGS, "immutable": bool},
    ("", "Secret"): {"data": STRINGS, "stringData": STRINGS, "type": str, "immutable": bool},
    ("", "ServiceAccount"): {"secrets": NAMED, "imagePullSecrets": NAMED},
    ("", "Service"): {
        "spec": {
            "type": str,
            "clusterIP": str,
            "clusterIPs": [str],
            "selector": STRINGS,
            "ports": [{"name": str, "port": int, "nodePort": int, "protocol": str}],
        },
        "status": {"loadBalancer": {}},
    },
    ("", "PersistentVolumeClaim"): {
        "spec": {"accessModes": [str], "volumeName": str, "storageClassName": str, "volumeMode": str},
        "status": CLAIM_STATUS,
    },
    ("", "Event"): EVENT,
    ("events.k8s.io", "Event"): NEW_EVENT,
    ("coordination.k8s.io", "Lease"): {
        "spec": {
            "holderIdentity": str,
            "leaseDurationSeconds": int,
            "leaseTransitions": int,
            "acquireTime": str,
            "renewTime": str,
        }
    },
    ("rbac.authorization.k8s.io", "RoleBinding"): BINDING,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): BINDING,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): DEFINITION,
}
