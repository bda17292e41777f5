{{- /* Where the servers' data is kept: a claim for each pod, or a folder that goes with it. */ -}}

{{- define "trialbus-lib.lostVolume" -}}
{{- if not .Values.persistence.enabled }}
- name: data
  emptyDir:
    sizeLimit: {{ .Values.persistence.size }}
{{- end }}
{{- end }}

{{- define "trialbus-lib.claims" -}}
{{- $persistence := .root.Values.persistence }}
{{- if $persistence.enabled }}
volumeClaimTemplates:
  - metadata:
      name: data
      labels:
        {{- include "trialbus-lib.selectorLabels" . | nindent 8 }}
      {{- with $persistence.annotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      accessModes: ["ReadWriteOnce"]
      {{- with $persistence.storageClass }}
      storageClassName: {{ . }}
      {{- end }}
      resources:
        requests:
          storage: {{ $persistence.size }}
{{- end }}
{{- end }}
