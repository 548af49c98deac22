#include "schema.h"

#include <stddef.h>
#include <string.h>

#define FIELD(number, key, type, shape) \
    { number, key, PROTO_##type, PROTO_##shape, NULL }
#define MESSAGE(number, key, shape, inner) \
    { number, key, PROTO_MESSAGE, PROTO_##shape, inner }
#define TYPE(key) \
    { 0, key, PROTO_STRING, PROTO_TYPE, NULL }

static const struct proto_field list_meta[] = {FIELD(1, "selfLink", STRING, ALWAYS),
        FIELD(2, "resourceVersion", STRING, ALWAYS), FIELD(3, "continue", STRING, ALWAYS),
        FIELD(4, "remainingItemCount", INT64, POINTER), {0}};
static const struct proto_field owner_reference[] = {FIELD(1, "kind", STRING, ALWAYS), FIELD(3, "name", STRING, ALWAYS),
        FIELD(4, "uid", STRING, ALWAYS), FIELD(5, "apiVersion", STRING, ALWAYS), FIELD(6, "controller", BOOL, POINTER),
        FIELD(7, "blockOwnerDeletion", BOOL, POINTER), {0}};
static const struct proto_field managed_fields_entry[] = {FIELD(1, "manager", STRING, ALWAYS),
        FIELD(2, "operation", STRING, ALWAYS), FIELD(3, "apiVersion", STRING, ALWAYS), FIELD(4, "time", TIME, POINTER),
        FIELD(6, "fieldsType", STRING, ALWAYS), FIELD(7, "fieldsV1", RAW_JSON, POINTER),
        FIELD(8, "subresource", STRING, SINCE_21), {0}};
static const struct proto_field object_meta[] = {FIELD(1, "name", STRING, ALWAYS),
        FIELD(2, "generateName", STRING, ALWAYS), FIELD(3, "namespace", STRING, ALWAYS),
        FIELD(4, "selfLink", STRING, ALWAYS), FIELD(5, "uid", STRING, ALWAYS),
        FIELD(6, "resourceVersion", STRING, ALWAYS), FIELD(7, "generation", INT64, ALWAYS),
        FIELD(8, "creationTimestamp", TIME, ALWAYS), FIELD(9, "deletionTimestamp", TIME, POINTER),
        FIELD(10, "deletionGracePeriodSeconds", INT64, POINTER), FIELD(11, "labels", STRING, MAP),
        FIELD(12, "annotations", STRING, MAP), MESSAGE(13, "ownerReferences", LIST, owner_reference),
        FIELD(14, "finalizers", STRING, LIST), FIELD(15, "clusterName", STRING, UNTIL_23),
        MESSAGE(17, "managedFields", LIST, managed_fields_entry), {0}};
static const struct proto_field label_selector_requirement[] = {
        FIELD(1, "key", STRING, ALWAYS), FIELD(2, "operator", STRING, ALWAYS), FIELD(3, "values", STRING, LIST), {0}};
static const struct proto_field label_selector[] = {
        FIELD(1, "matchLabels", STRING, MAP), MESSAGE(2, "matchExpressions", LIST, label_selector_requirement), {0}};
static const struct proto_field host_path_volume_source[] = {
        FIELD(1, "path", STRING, ALWAYS), FIELD(2, "type", STRING, POINTER), {0}};
static const struct proto_field empty_dir_volume_source[] = {
        FIELD(1, "medium", STRING, ALWAYS), FIELD(2, "sizeLimit", QUANTITY, POINTER), {0}};
static const struct proto_field key_to_path[] = {
        FIELD(1, "key", STRING, ALWAYS), FIELD(2, "path", STRING, ALWAYS), FIELD(3, "mode", INT32, POINTER), {0}};
static const struct proto_field secret_volume_source[] = {FIELD(1, "secretName", STRING, ALWAYS),
        MESSAGE(2, "items", LIST, key_to_path), FIELD(3, "defaultMode", INT32, POINTER),
        FIELD(4, "optional", BOOL, POINTER), {0}};
static const struct proto_field nfs_volume_source[] = {
        FIELD(1, "server", STRING, ALWAYS), FIELD(2, "path", STRING, ALWAYS), FIELD(3, "readOnly", BOOL, ALWAYS), {0}};
static const struct proto_field persistent_volume_claim_volume_source[] = {
        FIELD(1, "claimName", STRING, ALWAYS), FIELD(2, "readOnly", BOOL, ALWAYS), {0}};
static const struct proto_field object_field_selector[] = {
        FIELD(1, "apiVersion", STRING, ALWAYS), FIELD(2, "fieldPath", STRING, ALWAYS), {0}};
static const struct proto_field resource_field_selector[] = {FIELD(1, "containerName", STRING, ALWAYS),
        FIELD(2, "resource", STRING, ALWAYS), FIELD(3, "divisor", QUANTITY, ALWAYS), {0}};
static const struct proto_field downward_api_volume_file[] = {FIELD(1, "path", STRING, ALWAYS),
        MESSAGE(2, "fieldRef", POINTER, object_field_selector),
        MESSAGE(3, "resourceFieldRef", POINTER, resource_field_selector), FIELD(4, "mode", INT32, POINTER), {0}};
static const struct proto_field downward_api_volume_source[] = {
        MESSAGE(1, "items", LIST, downward_api_volume_file), FIELD(2, "defaultMode", INT32, POINTER), {0}};
static const struct proto_field local_object_reference[] = {FIELD(1, "name", STRING, ALWAYS), {0}};
static const struct proto_field config_map_volume_source[] = {
        MESSAGE(1, "localObjectReference", INLINE, local_object_reference), MESSAGE(2, "items", LIST, key_to_path),
        FIELD(3, "defaultMode", INT32, POINTER), FIELD(4, "optional", BOOL, POINTER), {0}};
static const struct proto_field secret_projection[] = {
        MESSAGE(1, "localObjectReference", INLINE, local_object_reference), MESSAGE(2, "items", LIST, key_to_path),
        FIELD(4, "optional", BOOL, POINTER), {0}};
static const struct proto_field downward_api_projection[] = {MESSAGE(1, "items", LIST, downward_api_volume_file), {0}};
static const struct proto_field config_map_projection[] = {
        MESSAGE(1, "localObjectReference", INLINE, local_object_reference), MESSAGE(2, "items", LIST, key_to_path),
        FIELD(4, "optional", BOOL, POINTER), {0}};
static const struct proto_field service_account_token_projection[] = {FIELD(1, "audience", STRING, ALWAYS),
        FIELD(2, "expirationSeconds", INT64, POINTER), FIELD(3, "path", STRING, ALWAYS), {0}};
static const struct proto_field volume_projection[] = {MESSAGE(1, "secret", POINTER, secret_projection),
        MESSAGE(2, "downwardAPI", POINTER, downward_api_projection),
        MESSAGE(3, "configMap", POINTER, config_map_projection),
        MESSAGE(4, "serviceAccountToken", POINTER, service_account_token_projection), {0}};
static const struct proto_field projected_volume_source[] = {
        MESSAGE(1, "sources", LIST, volume_projection), FIELD(2, "defaultMode", INT32, POINTER), {0}};
static const struct proto_field csi_volume_source[] = {FIELD(1, "driver", STRING, ALWAYS),
        FIELD(2, "readOnly", BOOL, POINTER), FIELD(3, "fsType", STRING, POINTER),
        FIELD(4, "volumeAttributes", STRING, MAP), MESSAGE(5, "nodePublishSecretRef", POINTER, local_object_reference),
        {0}};
static const struct proto_field volume_source[] = {MESSAGE(1, "hostPath", POINTER, host_path_volume_source),
        MESSAGE(2, "emptyDir", POINTER, empty_dir_volume_source), MESSAGE(6, "secret", POINTER, secret_volume_source),
        MESSAGE(7, "nfs", POINTER, nfs_volume_source),
        MESSAGE(10, "persistentVolumeClaim", POINTER, persistent_volume_claim_volume_source),
        MESSAGE(16, "downwardAPI", POINTER, downward_api_volume_source),
        MESSAGE(19, "configMap", POINTER, config_map_volume_source),
        MESSAGE(26, "projected", POINTER, projected_volume_source), MESSAGE(28, "csi", POINTER, csi_volume_source),
        {0}};
static const struct proto_field volume[] = {
        FIELD(1, "name", STRING, ALWAYS), MESSAGE(2, "volumeSource", INLINE, volume_source), {0}};
static const struct proto_field container_port[] = {FIELD(1, "name", STRING, ALWAYS),
        FIELD(2, "hostPort", INT32, ALWAYS), FIELD(3, "containerPort", INT32, ALWAYS),
        FIELD(4, "protocol", STRING, ALWAYS), FIELD(5, "hostIP", STRING, ALWAYS), {0}};
static const struct proto_field config_map_key_selector[] = {
        MESSAGE(1, "localObjectReference", INLINE, local_object_reference), FIELD(2, "key", STRING, ALWAYS),
        FIELD(3, "optional", BOOL, POINTER), {0}};
static const struct proto_field secret_key_selector[] = {
        MESSAGE(1, "localObjectReference", INLINE, local_object_reference), FIELD(2, "key", STRING, ALWAYS),
        FIELD(3, "optional", BOOL, POINTER), {0}};
static const struct proto_field env_var_source[] = {MESSAGE(1, "fieldRef", POINTER, object_field_selector),
        MESSAGE(2, "resourceFieldRef", POINTER, resource_field_selector),
        MESSAGE(3, "configMapKeyRef", POINTER, config_map_key_selector),
        MESSAGE(4, "secretKeyRef", POINTER, secret_key_selector), {0}};
static const struct proto_field env_var[] = {FIELD(1, "name", STRING, ALWAYS), FIELD(2, "value", STRING, ALWAYS),
        MESSAGE(3, "valueFrom", POINTER, env_var_source), {0}};
static const struct proto_field resource_requirements[] = {
        FIELD(1, "limits", QUANTITY, MAP), FIELD(2, "requests", QUANTITY, MAP), {0}};
static const struct proto_field volume_mount[] = {FIELD(1, "name", STRING, ALWAYS), FIELD(2, "readOnly", BOOL, ALWAYS),
        FIELD(3, "mountPath", STRING, ALWAYS), FIELD(4, "subPath", STRING, ALWAYS),
        FIELD(5, "mountPropagation", STRING, POINTER), FIELD(6, "subPathExpr", STRING, ALWAYS),
        FIELD(7, "recursiveReadOnly", STRING, POINTER), {0}};
static const struct proto_field exec_action[] = {FIELD(1, "command", STRING, LIST), {0}};
static const struct proto_field http_header[] = {
        FIELD(1, "name", STRING, ALWAYS), FIELD(2, "value", STRING, ALWAYS), {0}};
static const struct proto_field http_get_action[] = {FIELD(1, "path", STRING, ALWAYS),
        FIELD(2, "port", INT_OR_STRING, ALWAYS), FIELD(3, "host", STRING, ALWAYS), FIELD(4, "scheme", STRING, ALWAYS),
        MESSAGE(5, "httpHeaders", LIST, http_header), {0}};
static const struct proto_field tcp_socket_action[] = {
        FIELD(1, "port", INT_OR_STRING, ALWAYS), FIELD(2, "host", STRING, ALWAYS), {0}};
static const struct proto_field handler[] = {MESSAGE(1, "exec", POINTER, exec_action),
        MESSAGE(2, "httpGet", POINTER, http_get_action), MESSAGE(3, "tcpSocket", POINTER, tcp_socket_action), {0}};
static const struct proto_field probe[] = {MESSAGE(1, "handler", INLINE, handler),
        FIELD(2, "initialDelaySeconds", INT32, ALWAYS), FIELD(3, "timeoutSeconds", INT32, ALWAYS),
        FIELD(4, "periodSeconds", INT32, ALWAYS), FIELD(5, "successThreshold", INT32, ALWAYS),
        FIELD(6, "failureThreshold", INT32, ALWAYS), FIELD(7, "terminationGracePeriodSeconds", INT64, POINTER), {0}};
static const struct proto_field lifecycle[] = {
        MESSAGE(1, "postStart", POINTER, handler), MESSAGE(2, "preStop", POINTER, handler), {0}};
static const struct proto_field capabilities[] = {FIELD(1, "add", STRING, LIST), FIELD(2, "drop", STRING, LIST), {0}};
static const struct proto_field se_linux_options[] = {FIELD(1, "user", STRING, ALWAYS),
        FIELD(2, "role", STRING, ALWAYS), FIELD(3, "type", STRING, ALWAYS), FIELD(4, "level", STRING, ALWAYS), {0}};
static const struct proto_field seccomp_profile[] = {
        FIELD(1, "type", STRING, ALWAYS), FIELD(2, "localhostProfile", STRING, POINTER), {0}};
static const struct proto_field security_context[] = {MESSAGE(1, "capabilities", POINTER, capabilities),
        FIELD(2, "privileged", BOOL, POINTER), MESSAGE(3, "seLinuxOptions", POINTER, se_linux_options),
        FIELD(4, "runAsUser", INT64, POINTER), FIELD(5, "runAsNonRoot", BOOL, POINTER),
        FIELD(6, "readOnlyRootFilesystem", BOOL, POINTER), FIELD(7, "allowPrivilegeEscalation", BOOL, POINTER),
        FIELD(8, "runAsGroup", INT64, POINTER), FIELD(9, "procMount", STRING, POINTER),
        MESSAGE(11, "seccompProfile", POINTER, seccomp_profile), {0}};
static const struct proto_field config_map_env_source[] = {
        MESSAGE(1, "localObjectReference", INLINE, local_object_reference), FIELD(2, "optional", BOOL, POINTER), {0}};
static const struct proto_field secret_env_source[] = {
        MESSAGE(1, "localObjectReference", INLINE, local_object_reference), FIELD(2, "optional", BOOL, POINTER), {0}};
static const struct proto_field env_from_source[] = {FIELD(1, "prefix", STRING, ALWAYS),
        MESSAGE(2, "configMapRef", POINTER, config_map_env_source), MESSAGE(3, "secretRef", POINTER, secret_env_source),
        {0}};
static const struct proto_field volume_device[] = {
        FIELD(1, "name", STRING, ALWAYS), FIELD(2, "devicePath", STRING, ALWAYS), {0}};
static const struct proto_field container[] = {FIELD(1, "name", STRING, ALWAYS), FIELD(2, "image", STRING, ALWAYS),
        FIELD(3, "command", STRING, LIST), FIELD(4, "args", STRING, LIST), FIELD(5, "workingDir", STRING, ALWAYS),
        MESSAGE(6, "ports", LIST, container_port), MESSAGE(7, "env", LIST, env_var),
        MESSAGE(8, "resources", ALWAYS, resource_requirements), MESSAGE(9, "volumeMounts", LIST, volume_mount),
        MESSAGE(10, "livenessProbe", POINTER, probe), MESSAGE(11, "readinessProbe", POINTER, probe),
        MESSAGE(12, "lifecycle", POINTER, lifecycle), FIELD(13, "terminationMessagePath", STRING, ALWAYS),
        FIELD(14, "imagePullPolicy", STRING, ALWAYS), MESSAGE(15, "securityContext", POINTER, security_context),
        FIELD(16, "stdin", BOOL, ALWAYS), FIELD(17, "stdinOnce", BOOL, ALWAYS), FIELD(18, "tty", BOOL, ALWAYS),
        MESSAGE(19, "envFrom", LIST, env_from_source), FIELD(20, "terminationMessagePolicy", STRING, ALWAYS),
        MESSAGE(21, "volumeDevices", LIST, volume_device), MESSAGE(22, "startupProbe", POINTER, probe),
        FIELD(24, "restartPolicy", STRING, POINTER), {0}};
static const struct proto_field sysctl[] = {FIELD(1, "name", STRING, ALWAYS), FIELD(2, "value", STRING, ALWAYS), {0}};
static const struct proto_field pod_security_context[] = {MESSAGE(1, "seLinuxOptions", POINTER, se_linux_options),
        FIELD(2, "runAsUser", INT64, POINTER), FIELD(3, "runAsNonRoot", BOOL, POINTER),
        FIELD(4, "supplementalGroups", INT64, LIST), FIELD(5, "fsGroup", INT64, POINTER),
        FIELD(6, "runAsGroup", INT64, POINTER), MESSAGE(7, "sysctls", LIST, sysctl),
        FIELD(9, "fsGroupChangePolicy", STRING, POINTER), MESSAGE(10, "seccompProfile", POINTER, seccomp_profile), {0}};
static const struct proto_field node_selector_requirement[] = {
        FIELD(1, "key", STRING, ALWAYS), FIELD(2, "operator", STRING, ALWAYS), FIELD(3, "values", STRING, LIST), {0}};
static const struct proto_field node_selector_term[] = {MESSAGE(1, "matchExpressions", LIST, node_selector_requirement),
        MESSAGE(2, "matchFields", LIST, node_selector_requirement), {0}};
static const struct proto_field node_selector[] = {MESSAGE(1, "nodeSelectorTerms", LIST, node_selector_term), {0}};
static const struct proto_field preferred_scheduling_term[] = {
        FIELD(1, "weight", INT32, ALWAYS), MESSAGE(2, "preference", ALWAYS, node_selector_term), {0}};
static const struct proto_field node_affinity[] = {
        MESSAGE(1, "requiredDuringSchedulingIgnoredDuringExecution", POINTER, node_selector),
        MESSAGE(2, "preferredDuringSchedulingIgnoredDuringExecution", LIST, preferred_scheduling_term), {0}};
static const struct proto_field pod_affinity_term[] = {MESSAGE(1, "labelSelector", POINTER, label_selector),
        FIELD(2, "namespaces", STRING, LIST), FIELD(3, "topologyKey", STRING, ALWAYS), {0}};
static const struct proto_field weighted_pod_affinity_term[] = {
        FIELD(1, "weight", INT32, ALWAYS), MESSAGE(2, "podAffinityTerm", ALWAYS, pod_affinity_term), {0}};
static const struct proto_field pod_affinity[] = {
        MESSAGE(1, "requiredDuringSchedulingIgnoredDuringExecution", LIST, pod_affinity_term),
        MESSAGE(2, "preferredDuringSchedulingIgnoredDuringExecution", LIST, weighted_pod_affinity_term), {0}};
static const struct proto_field pod_anti_affinity[] = {
        MESSAGE(1, "requiredDuringSchedulingIgnoredDuringExecution", LIST, pod_affinity_term),
        MESSAGE(2, "preferredDuringSchedulingIgnoredDuringExecution", LIST, weighted_pod_affinity_term), {0}};
static const struct proto_field affinity[] = {MESSAGE(1, "nodeAffinity", POINTER, node_affinity),
        MESSAGE(2, "podAffinity", POINTER, pod_affinity), MESSAGE(3, "podAntiAffinity", POINTER, pod_anti_affinity),
        {0}};
static const struct proto_field toleration[] = {FIELD(1, "key", STRING, ALWAYS), FIELD(2, "operator", STRING, ALWAYS),
        FIELD(3, "value", STRING, ALWAYS), FIELD(4, "effect", STRING, ALWAYS),
        FIELD(5, "tolerationSeconds", INT64, POINTER), {0}};
static const struct proto_field host_alias[] = {
        FIELD(1, "ip", STRING, ALWAYS), FIELD(2, "hostnames", STRING, LIST), {0}};
static const struct proto_field pod_dns_config_option[] = {
        FIELD(1, "name", STRING, ALWAYS), FIELD(2, "value", STRING, POINTER), {0}};
static const struct proto_field pod_dns_config[] = {FIELD(1, "nameservers", STRING, LIST),
        FIELD(2, "searches", STRING, LIST), MESSAGE(3, "options", LIST, pod_dns_config_option), {0}};
static const struct proto_field pod_readiness_gate[] = {FIELD(1, "conditionType", STRING, ALWAYS), {0}};
static const struct proto_field topology_spread_constraint[] = {FIELD(1, "maxSkew", INT32, ALWAYS),
        FIELD(2, "topologyKey", STRING, ALWAYS), FIELD(3, "whenUnsatisfiable", STRING, ALWAYS),
        MESSAGE(4, "labelSelector", POINTER, label_selector), {0}};
static const struct proto_field pod_spec[] = {MESSAGE(1, "volumes", LIST, volume),
        MESSAGE(2, "containers", LIST, container), FIELD(3, "restartPolicy", STRING, ALWAYS),
        FIELD(4, "terminationGracePeriodSeconds", INT64, POINTER), FIELD(5, "activeDeadlineSeconds", INT64, POINTER),
        FIELD(6, "dnsPolicy", STRING, ALWAYS), FIELD(7, "nodeSelector", STRING, MAP),
        FIELD(8, "serviceAccountName", STRING, ALWAYS), FIELD(9, "serviceAccount", STRING, ALWAYS),
        FIELD(10, "nodeName", STRING, ALWAYS), FIELD(11, "hostNetwork", BOOL, ALWAYS),
        FIELD(12, "hostPID", BOOL, ALWAYS), FIELD(13, "hostIPC", BOOL, ALWAYS),
        MESSAGE(14, "securityContext", POINTER, pod_security_context),
        MESSAGE(15, "imagePullSecrets", LIST, local_object_reference), FIELD(16, "hostname", STRING, ALWAYS),
        FIELD(17, "subdomain", STRING, ALWAYS), MESSAGE(18, "affinity", POINTER, affinity),
        FIELD(19, "schedulerName", STRING, ALWAYS), MESSAGE(20, "initContainers", LIST, container),
        FIELD(21, "automountServiceAccountToken", BOOL, POINTER), MESSAGE(22, "tolerations", LIST, toleration),
        MESSAGE(23, "hostAliases", LIST, host_alias), FIELD(24, "priorityClassName", STRING, ALWAYS),
        FIELD(25, "priority", INT32, POINTER), MESSAGE(26, "dnsConfig", POINTER, pod_dns_config),
        FIELD(27, "shareProcessNamespace", BOOL, POINTER), MESSAGE(28, "readinessGates", LIST, pod_readiness_gate),
        FIELD(29, "runtimeClassName", STRING, POINTER), FIELD(30, "enableServiceLinks", BOOL, POINTER),
        FIELD(31, "preemptionPolicy", STRING, POINTER), FIELD(32, "overhead", QUANTITY, MAP),
        MESSAGE(33, "topologySpreadConstraints", LIST, topology_spread_constraint),
        FIELD(35, "setHostnameAsFQDN", BOOL, POINTER), {0}};
static const struct proto_field pod_template_spec[] = {
        MESSAGE(1, "metadata", ALWAYS, object_meta), MESSAGE(2, "spec", ALWAYS, pod_spec), {0}};
static const struct proto_field on_exit_codes[] = {FIELD(1, "containerName", STRING, POINTER),
        FIELD(2, "operator", STRING, ALWAYS), FIELD(3, "values", INT32, LIST), {0}};
static const struct proto_field on_pod_conditions[] = {
        FIELD(1, "type", STRING, ALWAYS), FIELD(2, "status", STRING, ALWAYS), {0}};
static const struct proto_field pod_failure_policy_rule[] = {FIELD(1, "action", STRING, ALWAYS),
        MESSAGE(2, "onExitCodes", POINTER, on_exit_codes), MESSAGE(3, "onPodConditions", LIST, on_pod_conditions), {0}};
static const struct proto_field pod_failure_policy[] = {MESSAGE(1, "rules", LIST, pod_failure_policy_rule), {0}};
static const struct proto_field success_policy_rule[] = {
        FIELD(1, "succeededIndexes", STRING, POINTER), FIELD(2, "succeededCount", INT32, POINTER), {0}};
static const struct proto_field success_policy[] = {MESSAGE(1, "rules", LIST, success_policy_rule), {0}};
static const struct proto_field uncounted_terminated_pods[] = {
        FIELD(1, "succeeded", STRING, LIST), FIELD(2, "failed", STRING, LIST), {0}};
static const struct proto_field job_spec[] = {FIELD(1, "parallelism", INT32, POINTER),
        FIELD(2, "completions", INT32, POINTER), FIELD(3, "activeDeadlineSeconds", INT64, POINTER),
        MESSAGE(4, "selector", POINTER, label_selector), FIELD(5, "manualSelector", BOOL, POINTER),
        MESSAGE(6, "template", ALWAYS, pod_template_spec), FIELD(7, "backoffLimit", INT32, POINTER),
        FIELD(8, "ttlSecondsAfterFinished", INT32, POINTER), FIELD(9, "completionMode", STRING, POINTER),
        FIELD(10, "suspend", BOOL, POINTER), MESSAGE(11, "podFailurePolicy", POINTER, pod_failure_policy),
        FIELD(12, "backoffLimitPerIndex", INT32, POINTER), FIELD(13, "maxFailedIndexes", INT32, POINTER),
        FIELD(14, "podReplacementPolicy", STRING, POINTER), FIELD(15, "managedBy", STRING, POINTER),
        MESSAGE(16, "successPolicy", POINTER, success_policy), {0}};
static const struct proto_field job_condition[] = {FIELD(1, "type", STRING, ALWAYS), FIELD(2, "status", STRING, ALWAYS),
        FIELD(3, "lastProbeTime", TIME, ALWAYS), FIELD(4, "lastTransitionTime", TIME, ALWAYS),
        FIELD(5, "reason", STRING, ALWAYS), FIELD(6, "message", STRING, ALWAYS), {0}};
static const struct proto_field job_status[] = {MESSAGE(1, "conditions", LIST, job_condition),
        FIELD(2, "startTime", TIME, POINTER), FIELD(3, "completionTime", TIME, POINTER),
        FIELD(4, "active", INT32, ALWAYS), FIELD(5, "succeeded", INT32, ALWAYS), FIELD(6, "failed", INT32, ALWAYS),
        FIELD(7, "completedIndexes", STRING, SINCE_21),
        MESSAGE(8, "uncountedTerminatedPods", POINTER, uncounted_terminated_pods), FIELD(9, "ready", INT32, POINTER),
        FIELD(10, "failedIndexes", STRING, POINTER), FIELD(11, "terminating", INT32, POINTER), {0}};
static const struct proto_field job[] = {MESSAGE(1, "metadata", ALWAYS, object_meta),
        MESSAGE(2, "spec", ALWAYS, job_spec), MESSAGE(3, "status", ALWAYS, job_status), TYPE("kind"),
        TYPE("apiVersion"), {0}};
static const struct proto_field job_list[] = {MESSAGE(1, "metadata", ALWAYS, list_meta), MESSAGE(2, "items", LIST, job),
        TYPE("kind"), TYPE("apiVersion"), {0}};
static const struct proto_field status_cause[] = {FIELD(1, "reason", STRING, ALWAYS),
        FIELD(2, "message", STRING, ALWAYS), FIELD(3, "field", STRING, ALWAYS), {0}};
static const struct proto_field status_details[] = {FIELD(1, "name", STRING, ALWAYS), FIELD(2, "group", STRING, ALWAYS),
        FIELD(3, "kind", STRING, ALWAYS), MESSAGE(4, "causes", LIST, status_cause),
        FIELD(5, "retryAfterSeconds", INT32, ALWAYS), FIELD(6, "uid", STRING, ALWAYS), {0}};
static const struct proto_field status[] = {MESSAGE(1, "metadata", ALWAYS, list_meta),
        FIELD(2, "status", STRING, ALWAYS), FIELD(3, "message", STRING, ALWAYS), FIELD(4, "reason", STRING, ALWAYS),
        MESSAGE(5, "details", POINTER, status_details), FIELD(6, "code", INT32, ALWAYS), TYPE("kind"),
        TYPE("apiVersion"), {0}};

static const struct proto_field namespace_spec[] = {FIELD(1, "finalizers", STRING, LIST), {0}};
static const struct proto_field namespace_status[] = {FIELD(1, "phase", STRING, ALWAYS), {0}};
static const struct proto_field namespace_object[] = {MESSAGE(1, "metadata", ALWAYS, object_meta),
        MESSAGE(2, "spec", ALWAYS, namespace_spec), MESSAGE(3, "status", ALWAYS, namespace_status), TYPE("kind"),
        TYPE("apiVersion"), {0}};
static const struct proto_field resource_attributes[] = {FIELD(1, "namespace", STRING, ALWAYS),
        FIELD(2, "verb", STRING, ALWAYS), FIELD(3, "group", STRING, ALWAYS), FIELD(4, "version", STRING, ALWAYS),
        FIELD(5, "resource", STRING, ALWAYS), FIELD(6, "subresource", STRING, ALWAYS), FIELD(7, "name", STRING, ALWAYS),
        {0}};
static const struct proto_field path_attributes[] = {
        FIELD(1, "path", STRING, ALWAYS), FIELD(2, "verb", STRING, ALWAYS), {0}};
static const struct proto_field review_spec[] = {MESSAGE(1, "resourceAttributes", POINTER, resource_attributes),
        MESSAGE(2, "nonResourceAttributes", POINTER, path_attributes), {0}};
static const struct proto_field review_status[] = {FIELD(1, "allowed", BOOL, ALWAYS),
        FIELD(2, "reason", STRING, ALWAYS), FIELD(3, "evaluationError", STRING, ALWAYS),
        FIELD(4, "denied", BOOL, ALWAYS), {0}};
static const struct proto_field review[] = {MESSAGE(1, "metadata", ALWAYS, object_meta),
        MESSAGE(2, "spec", ALWAYS, review_spec), MESSAGE(3, "status", ALWAYS, review_status), TYPE("kind"),
        TYPE("apiVersion"), {0}};

static const struct {
    const char *kind;
    const struct proto_field *fields;
} kinds[] = {{"Job", job}, {"JobList", job_list}, {"Status", status}, {"Namespace", namespace_object},
        {"SelfSubjectAccessReview", review}};

const struct proto_field *proto_schema(const char *kind) {
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].kind, kind) == 0)
            return kinds[i].fields;
    }
    return NULL;
}
