{{- /* What pods of all charts have in common. */ -}}

{{- define "trialbus-lib.podSecurityContext" -}}
runAsNonRoot: true
{{- range $name, $value := .Values.global.security }}
{{- if $value }}
{{ $name }}: {{ $value }}
{{- end }}
{{- end }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "trialbus-lib.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: ["ALL"]
{{- end }}

{{- /* Where a pod may run and which images it may fetch, (root, name). */ -}}
{{- define "trialbus-lib.scheduling" -}}
{{- $values := .root.Values }}
{{- with $values.global.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.topologySpread }}
topologySpreadConstraints:
{{- range . }}
  - {{ toYaml . | nindent 4 | trim }}
    labelSelector:
      matchLabels:
        {{- include "trialbus-lib.selectorLabels" $ | nindent 8 }}
{{- end }}
{{- end }}
{{- end }}

{{- define "trialbus-lib.podMetadata" -}}
labels:
  {{- include "trialbus-lib.labels" . | nindent 2 }}
{{- with .root.Values.podLabels }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "trialbus-lib.serviceAccount" -}}
{{- if not .root.Values.serviceAccount.name -}}
apiVersion: v1
kind: ServiceAccount
{{ include "trialbus-lib.metadata" . }}
{{- with .root.Values.serviceAccount.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
{{- end }}
automountServiceAccountToken: false
{{- end }}
{{- end }}

{{- define "trialbus-lib.podDisruptionBudget" -}}
{{- if .root.Values.podDisruptionBudget.enabled -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
{{ include "trialbus-lib.metadata" . }}
spec:
  maxUnavailable: {{ .root.Values.podDisruptionBudget.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "trialbus-lib.selectorLabels" . | nindent 6 }}
{{- end }}
{{- end }}
