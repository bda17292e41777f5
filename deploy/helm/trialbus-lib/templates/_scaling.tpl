{{- /* The HorizontalPodAutoscaler of a service: (root, name). */ -}}

{{- define "trialbus-lib.autoscaler" -}}
{{- $scaling := .root.Values.autoscaling | default dict }}
{{- if $scaling.enabled -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
{{ include "trialbus-lib.metadata" . }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "trialbus-lib.name" . }}
  minReplicas: {{ $scaling.minReplicas }}
  maxReplicas: {{ max $scaling.minReplicas $scaling.maxReplicas }}
  metrics:
    {{- if $scaling.lag }}
    {{- include "trialbus-lib.lag" (dict "seed" .seed "lag" $scaling.lag) | nindent 4 }}
    {{- else }}
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ $scaling.targetCpuPercent }}
    {{- end }}
  behavior:
    scaleDown:
      # A replica that goes hands its partitions to others; that is not worth it for a lull.
      stabilizationWindowSeconds: 600
{{- end }}
{{- end }}

{{- define "trialbus-lib.lag" -}}
{{- $ours := dict "matchLabels" (dict "service" .seed) }}
- type: {{ .lag.type }}
  {{ lower .lag.type }}:
    metric:
      name: {{ .lag.metric }}
      {{- if or .lag.selector (eq .lag.type "External") }}
      selector:
        {{- toYaml (.lag.selector | default $ours) | nindent 8 }}
      {{- end }}
    target:
      type: AverageValue
      averageValue: {{ .lag.averageValue | quote }}
{{- end }}
