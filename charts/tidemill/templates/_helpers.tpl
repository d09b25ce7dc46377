{{- define "tidemill.name" -}}
{{- .Values.nameOverride | default .Chart.Name -}}
{{- end }}

{{- define "tidemill.fullname" -}}
{{- $name := include "tidemill.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- /* What selects pods of ours. Jobs' pods have other names and components, and managed-by tidemill-operator. */ -}}
{{- define "tidemill.selector" -}}
app.kubernetes.io/name: {{ include "tidemill.name" .context }}
app.kubernetes.io/instance: {{ .context.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "tidemill.labels" -}}
{{ include "tidemill.selector" . }}
app.kubernetes.io/version: {{ .context.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .context.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .context.Chart.Name .context.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "tidemill.metadata" -}}
name: {{ .name | default (include "tidemill.fullname" .context) }}
{{- if not .clusterWide }}
namespace: {{ .namespace | default .context.Release.Namespace }}
{{- end }}
labels:
  {{- include "tidemill.labels" (dict "context" .context "component" .component) | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "tidemill.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "tidemill.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "tidemill.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end }}

{{- /* The platform's checkpoint location; empty where there is none. */ -}}
{{- define "tidemill.checkpoint" -}}
{{- if .Values.jobs.checkpoint.location -}}
{{- .Values.jobs.checkpoint.location -}}
{{- else if .Values.redis.enabled -}}
redis://{{ include "tidemill.fullname" . }}-redis.{{ .Release.Namespace }}.svc:6379/0
{{- end -}}
{{- end }}

{{- /* Namespaces whose jobs' pods get a NetworkPolicy, as JSON. */ -}}
{{- define "tidemill.jobNamespaces" -}}
{{- .Values.networkPolicies.jobNamespaces | default .Values.watchNamespaces | default (list .Release.Namespace) | toJson -}}
{{- end }}

{{- define "tidemill.jobsPods" -}}
app.kubernetes.io/name: tidemill
app.kubernetes.io/managed-by: tidemill-operator
{{- end }}

{{- /* The rules of alerts/tidemill.yaml less the disabled ones, with whole links and further labels. */ -}}
{{- define "tidemill.rules" -}}
{{- $disabled := .Values.alerts.disabled -}}
{{- $known := list -}}
{{- $groups := list -}}
{{- range (.Files.Get "alerts/tidemill.yaml" | fromYaml).groups -}}
  {{- $rules := list -}}
  {{- range .rules -}}
    {{- $known = append $known .alert -}}
    {{- if not (has .alert $disabled) -}}
      {{- $link := dict "runbook_url" (printf "%s/%s" $.Values.alerts.runbookUrl .annotations.runbook_url) -}}
      {{- $rule := set . "annotations" (mergeOverwrite .annotations $link) -}}
      {{- $rules = append $rules (set $rule "labels" (mergeOverwrite .labels $.Values.alerts.labels)) -}}
    {{- end -}}
  {{- end -}}
  {{- if $rules -}}
    {{- $groups = append $groups (dict "name" .name "rules" $rules) -}}
  {{- end -}}
{{- end -}}
{{- range $disabled -}}
  {{- if not (has . $known) -}}
    {{- fail (printf "alerts.disabled: there is no alert '%s'; there are %s" . (join ", " $known)) -}}
  {{- end -}}
{{- end -}}
{{- dict "groups" $groups | toYaml -}}
{{- end }}

{{- /* What the schema cannot say: values that contradict each other. */ -}}
{{- define "tidemill.validate" -}}
{{- $written := regexReplaceAll `\$\{[^}]*\}` .Values.jobs.checkpoint.location "" -}}
{{- if regexMatch `//[^/?@]*:[^/?@]+@|[?&]sentinel_password=[^&]` $written -}}
{{- fail "jobs.checkpoint.location: it has a password in plain text, which would be in the environment of every driver; put the password into a Secret of each namespace with jobs and refer to that: redis://:${secret:redis/password}@redis:6379/0" -}}
{{- end -}}
{{- if and .Values.redis.enabled .Values.jobs.checkpoint.location -}}
{{- fail "redis.enabled: jobs would not use it, since jobs.checkpoint.location is given; leave one out" -}}
{{- end -}}
{{- end }}
