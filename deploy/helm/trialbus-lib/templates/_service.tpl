{{- /* The Service of a service: (root, name, http, grpc). */ -}}

{{- define "trialbus-lib.service" -}}
{{- $own := .root.Values.service | default dict -}}
apiVersion: v1
kind: Service
{{ include "trialbus-lib.metadata" . }}
{{- with $own.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
{{- end }}
spec:
  type: {{ $own.type | default "ClusterIP" }}
  selector:
    {{- include "trialbus-lib.selectorLabels" . | nindent 4 }}
  ports:
    {{- if .http }}
    - name: http
      port: {{ ternary 443 80 (ne .root.Values.global.gateway.tlsSecret "") }}
      targetPort: http
    {{- end }}
    {{- if .grpc }}
    - name: grpc
      port: 6789
      targetPort: grpc
    {{- end }}
    {{- if not .http }}
    - name: health
      port: 8081
      targetPort: health
    {{- end }}
{{- end }}

{{- /* The health port of the gateway is not for whom its Service lets in. */ -}}
{{- define "trialbus-lib.healthService" -}}
apiVersion: v1
kind: Service
{{ include "trialbus-lib.metadata" (merge (dict "own" "-health") .) }}
spec:
  selector:
    {{- include "trialbus-lib.selectorLabels" . | nindent 4 }}
  ports:
    - name: health
      port: 8081
      targetPort: health
{{- end }}

{{- /* Rules and dashboards look for the labels job and service; what a metric says of itself stays
(honorLabels). */ -}}
{{- define "trialbus-lib.serviceMonitor" -}}
{{- $own := .root.Values.serviceMonitor }}
{{- $all := .root.Values.global.serviceMonitor }}
{{- if or $own.enabled $all.enabled -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
{{ include "trialbus-lib.metadata" . }}
{{- with mergeOverwrite (deepCopy $all.labels) $own.labels }}
    {{- toYaml . | nindent 4 }}
{{- end }}
spec:
  selector:
    matchLabels:
      {{- include "trialbus-lib.selectorLabels" . | nindent 6 }}
  endpoints:
    - port: health
      path: /metrics
      interval: {{ $own.interval | default $all.interval }}
      honorLabels: true
      relabelings:
        - {targetLabel: job, replacement: trialbus}
        - {targetLabel: service, replacement: {{ .seed }}}
{{- end }}
{{- end }}
