{{- /* What the operator may do in each namespace that it looks after; docs/install.md says why, verb by verb. */ -}}
{{- define "tidemill.operatorRules" -}}
- apiGroups: [tidemill.dev]
  resources: [streamingjobs]
  verbs: [list, watch, patch]
- apiGroups: [tidemill.dev]
  resources: [streamingjobs/status]
  verbs: [patch]
- apiGroups: [tidemill.dev]
  resources: [streamingjobs/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [list, watch, create, patch]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list, watch, create, patch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch, create, patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, delete]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, patch]
- apiGroups: [""]
  resources: [events]
  verbs: [list, create]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
{{- end }}

{{- /* Binds a role to the operator: kind Role or ClusterRole, metadata as for tidemill.metadata. */ -}}
{{- define "tidemill.binding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  {{- include "tidemill.metadata" .metadata | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .metadata.name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "tidemill.serviceAccount" .metadata.context }}
    namespace: {{ .metadata.context.Release.Namespace }}
{{- end }}
