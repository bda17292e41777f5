{{- /* All objects of a service. Context: what the templates above ask for. */ -}}

{{- define "trialbus-lib.everything" -}}
{{- $kinds := list "serviceAccount" "access" "deployment" "service" "podDisruptionBudget" }}
{{- $kinds = concat $kinds (list "autoscaler" "networkPolicy" "serviceMonitor") }}
{{- if .http }}
{{- $kinds = append $kinds "healthService" }}
{{- end }}
{{- range $kinds }}
{{- with include (printf "trialbus-lib.%s" .) $ | trim }}
---
{{ trimPrefix "---" . | trim }}
{{- end }}
{{- end }}
{{- end }}
