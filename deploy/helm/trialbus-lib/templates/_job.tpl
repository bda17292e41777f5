{{- /* A Job that may run again at any time, under a name that follows from what it does: a changed
one is another Job, because Kubernetes changes none. Context: (root, name, values, container,
volumes): values: image, again, resources; container: command, environment and mounts as YAML. */ -}}

{{- define "trialbus-lib.jobSpec" -}}
backoffLimit: 20
# A day to look at its log.
ttlSecondsAfterFinished: 86400
template:
  metadata:
    labels:
      {{- include "trialbus-lib.labels" . | nindent 6 }}
  spec:
    restartPolicy: OnFailure
    automountServiceAccountToken: false
    enableServiceLinks: false
    securityContext:
      {{- include "trialbus-lib.podSecurityContext" .root | nindent 6 }}
    {{- with .root.Values.global.image.pullSecrets }}
    imagePullSecrets:
      {{- range . }}
      - name: {{ . }}
      {{- end }}
    {{- end }}
    containers:
      - name: {{ .name }}
        image: {{ include "trialbus-lib.image" (dict "root" .root "image" .values.image) }}
        imagePullPolicy: {{ .root.Values.global.image.pullPolicy }}
        {{- .container | nindent 8 }}
        resources:
          {{- toYaml .values.resources | nindent 10 }}
        securityContext:
          {{- include "trialbus-lib.securityContext" . | nindent 10 }}
    volumes:
      - name: tmp
        emptyDir:
          sizeLimit: 64Mi
      {{- .volumes | trim | nindent 6 }}
{{- end }}

{{- define "trialbus-lib.job" -}}
{{- $spec := include "trialbus-lib.jobSpec" . }}
{{- $mark := printf "%s %s" $spec .values.again | sha256sum | trunc 8 }}
apiVersion: batch/v1
kind: Job
{{ include "trialbus-lib.metadata" (merge (dict "own" (printf "-%s" $mark)) .) }}
spec:
  {{- $spec | nindent 2 }}
{{- end }}
