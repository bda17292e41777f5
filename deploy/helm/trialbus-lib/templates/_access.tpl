{{- /* What a service may do on the cluster: a Role in each namespace, or one ClusterRole where the
values list none. Context: (root, name, seed, rules, clusterRules): rules as YAML. */ -}}

{{- define "trialbus-lib.accessMetadata" -}}
metadata:
  name: {{ include "trialbus-lib.instance" .root }}-{{ .name }}{{ .own | default "" }}
{{- with .namespace }}
  namespace: {{ . }}
{{- end }}
  labels:
    {{- include "trialbus-lib.labels" . | nindent 4 }}
{{- end }}

{{- /* Role or ClusterRole with its binding, (..., kind, text, namespace, own). */ -}}
{{- define "trialbus-lib.grant" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}
{{ include "trialbus-lib.accessMetadata" . }}
rules:
  {{- .text | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
{{ include "trialbus-lib.accessMetadata" . }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ include "trialbus-lib.instance" .root }}-{{ .name }}{{ .own | default "" }}
subjects:
  - kind: ServiceAccount
    name: {{ include "trialbus-lib.accountName" . }}
    namespace: {{ .root.Release.Namespace }}
{{- end }}

{{- define "trialbus-lib.access" -}}
{{- $namespaces := .root.Values.global.namespaces }}
{{- with .rules | default "" | trim }}
{{- if $namespaces }}
{{- range $namespaces }}
---
{{ include "trialbus-lib.grant" (merge (dict "kind" "Role" "text" $.rules "namespace" .) $) }}
{{- end }}
{{- else }}
---
{{ include "trialbus-lib.grant" (merge (dict "kind" "ClusterRole" "text" .) $) }}
{{- end }}
{{- end }}
{{- with .clusterRules | default "" | trim }}
---
{{ include "trialbus-lib.grant" (merge (dict "kind" "ClusterRole" "text" . "own" "-cluster") $) }}
{{- end }}
{{- end }}
