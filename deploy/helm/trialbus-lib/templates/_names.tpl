{{- /* What things are called. Every template here takes the root, or a service's context:
(root, name), where name is the chart's. */ -}}

{{- define "trialbus-lib.prefix" -}}
{{- .Values.global.prefix | default (.Release.Name | replace "." "-" | trunc 40 | trimSuffix "-") }}
{{- end }}

{{- define "trialbus-lib.name" -}}
{{ include "trialbus-lib.prefix" .root }}-{{ .name }}
{{- end }}

{{- /* Of objects that stand in other namespaces, or in none: no other installation has it. A bus
subject ends with it, so it has no dots. */ -}}
{{- define "trialbus-lib.instance" -}}
{{- $whole := printf "%s-%s" (include "trialbus-lib.prefix" .) .Release.Namespace }}
{{- $short := printf "%s-%s" ($whole | trunc 54 | trimSuffix "-") ($whole | sha256sum | trunc 8) }}
{{- .Values.global.instance | default (gt (len $whole) 63 | ternary $short $whole) }}
{{- end }}

{{- /* The name by which a Service is reached, (root, name). */ -}}
{{- define "trialbus-lib.host" -}}
{{ include "trialbus-lib.name" . }}.{{ .root.Release.Namespace }}.svc
{{- end }}

{{- define "trialbus-lib.selectorLabels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ include "trialbus-lib.prefix" .root }}
{{- end }}

{{- define "trialbus-lib.labels" -}}
{{ include "trialbus-lib.selectorLabels" . }}
app.kubernetes.io/part-of: trialbus
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- with .root.Values.global.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* The head of an object, (root, name, own): own goes after the name, where there are two. */ -}}
{{- define "trialbus-lib.metadata" -}}
metadata:
  name: {{ include "trialbus-lib.name" . }}{{ .own | default "" }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "trialbus-lib.labels" . | nindent 4 }}
{{- end }}

{{- define "trialbus-lib.accountName" -}}
{{- .root.Values.serviceAccount.name | default (include "trialbus-lib.name" .) }}
{{- end }}

{{- /* An image, (root, image): its own registry, tag or digest go before the global ones. */ -}}
{{- define "trialbus-lib.image" -}}
{{- $all := .root.Values.global.image }}
{{- with .image.registry | default $all.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default $all.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}
