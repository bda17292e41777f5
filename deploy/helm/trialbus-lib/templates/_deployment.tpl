{{- /* The Deployment of a service. Context: (root, name, seed, grpc, http, api, environment,
secrets). seed: the service's name in Python; grpc, http: whether it serves them; api: whether it
talks to the API server; environment: more variables, as YAML; secrets: list of (name, secret, key),
each mounted as /etc/trialbus/<name>/<key>. */ -}}

{{- /* Settings of the service over the global ones, as JSON. */ -}}
{{- define "trialbus-lib.settings" -}}
{{- mergeOverwrite (deepCopy .Values.global.settings) .Values.settings | toJson }}
{{- end }}

{{- define "trialbus-lib.settingsEnvironment" -}}
{{- range $name, $value := include "trialbus-lib.settings" . | fromJson }}
- name: TRIALBUS_{{ upper $name }}
  value: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}
{{- end }}
{{- end }}

{{- /* From SIGTERM to SIGKILL, seconds: the wait before it, the drain, and closing connections. */ -}}
{{- define "trialbus-lib.grace" -}}
{{- $settings := include "trialbus-lib.settings" .root | fromJson }}
{{- add 15 (ceil ($settings.drain_deadline_s | default 10)) }}
{{- end }}

{{- define "trialbus-lib.environment" -}}
{{- $values := .root.Values }}
- name: TRIALBUS_HOST
  value: {{ $values.global.listenOn | quote }}
- name: TRIALBUS_HEALTH_PORT
  value: "8081"
{{- if .grpc }}
- name: TRIALBUS_GRPC_PORT
  value: "6789"
{{- end }}
- name: TRIALBUS_DATA_DIR
  value: /data
- name: TRIALBUS_PLACE
  value: kubernetes
- name: TRIALBUS_KUBERNETES_INSTANCE
  value: {{ include "trialbus-lib.instance" .root | quote }}
- name: TRIALBUS_KUBERNETES_NAMESPACES
  value: {{ join "," $values.global.namespaces | quote }}
{{ include "trialbus-lib.natsEnvironment" . | trim }}
{{ include "trialbus-lib.mongodbEnvironment" . | trim }}
{{- with $values.global.tracing }}
{{- if .endpoint }}
- name: TRIALBUS_TRACE_ENDPOINT
  value: {{ .endpoint | quote }}
- name: TRIALBUS_TRACE_RATIO
  value: {{ .ratio | quote }}
{{- end }}
{{- end }}
{{- with .environment }}
{{ . | trim }}
{{- end }}
{{- with include "trialbus-lib.settingsEnvironment" .root }}
{{ . | trim }}
{{- end }}
{{- with $values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "trialbus-lib.mounts" -}}
- name: tmp
  mountPath: /tmp
- name: data
  mountPath: /data
{{- range .secrets }}
- name: {{ .name }}
  mountPath: /etc/trialbus/{{ .name }}
  readOnly: true
{{- end }}
{{- include "trialbus-lib.natsMounts" . }}
{{- include "trialbus-lib.mongodbMounts" . }}
{{- with .root.Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "trialbus-lib.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ .root.Values.storage.tmp }}
- name: data
  emptyDir:
    sizeLimit: {{ .root.Values.storage.data }}
{{- range .secrets }}
- name: {{ .name }}
  secret:
    secretName: {{ .secret }}
    defaultMode: 0400
{{- with .key }}
    items:
      - key: {{ . }}
        path: {{ . }}
{{- end }}
{{- end }}
{{- include "trialbus-lib.natsVolumes" . }}
{{- include "trialbus-lib.mongodbVolumes" . }}
{{- with .root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "trialbus-lib.probes" -}}
startupProbe:
  httpGet:
    path: /healthz
    port: health
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 60
livenessProbe:
  httpGet:
    path: /healthz
    port: health
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /readyz
    port: health
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- end }}

{{- define "trialbus-lib.deployment" -}}
{{- $values := .root.Values -}}
apiVersion: apps/v1
kind: Deployment
{{ include "trialbus-lib.metadata" . }}
{{- with $values.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
{{- end }}
spec:
{{- if not (and $values.autoscaling $values.autoscaling.enabled) }}
  replicas: {{ $values.replicas }}
{{- end }}
  revisionHistoryLimit: 3
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 0
      maxSurge: 1
  selector:
    matchLabels:
      {{- include "trialbus-lib.selectorLabels" . | nindent 6 }}
  template:
    metadata:
      {{- include "trialbus-lib.podMetadata" . | nindent 6 }}
    spec:
      serviceAccountName: {{ include "trialbus-lib.accountName" . }}
      automountServiceAccountToken: {{ .api }}
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ include "trialbus-lib.grace" . }}
      securityContext:
        {{- include "trialbus-lib.podSecurityContext" .root | nindent 8 }}
      {{- include "trialbus-lib.scheduling" . | nindent 6 }}
      containers:
        - name: {{ .name }}
          image: {{ include "trialbus-lib.image" (dict "root" .root "image" $values.image) }}
          imagePullPolicy: {{ $values.global.image.pullPolicy }}
          command: ["trialbus", "serve", {{ .seed | quote }}]
          ports:
            - name: health
              containerPort: 8081
            {{- if .http }}
            - name: http
              containerPort: 8080
            {{- end }}
            {{- if .grpc }}
            - name: grpc
              containerPort: 6789
            {{- end }}
          env:
            {{- include "trialbus-lib.environment" . | nindent 12 }}
          {{- include "trialbus-lib.probes" . | nindent 10 }}
          # Nobody sends anything more here once the endpoints are known to be without this pod.
          lifecycle:
            preStop:
              sleep:
                seconds: 2
          resources:
            {{- toYaml $values.resources | nindent 12 }}
          securityContext:
            {{- include "trialbus-lib.securityContext" . | nindent 12 }}
          volumeMounts:
            {{- include "trialbus-lib.mounts" . | nindent 12 }}
      volumes:
        {{- include "trialbus-lib.volumes" . | nindent 8 }}
{{- end }}
