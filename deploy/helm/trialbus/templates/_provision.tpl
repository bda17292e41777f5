{{- /* What the Job that makes the streams runs: (root). */ -}}

{{- define "trialbus.provisionContainer" -}}
command: ["trialbus", "provision", "--within=120"]
env:
  {{- include "trialbus-lib.natsEnvironment" . | nindent 2 }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- include "trialbus-lib.natsMounts" . | nindent 2 }}
{{- end }}
