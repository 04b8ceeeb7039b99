{{- define "roost.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "roost.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "roost.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "roost.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "roost.selector" -}}
app.kubernetes.io/name: {{ include "roost.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "roost.labels" -}}
{{ include "roost.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "roost.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "roost.keys" -}}
{{ .Values.keys.existingSecret | default (printf "%s-keys" (include "roost.fullname" .)) }}
{{- end -}}

{{- define "roost.engine" -}}
{{ .Values.config.engine | default "memory" }}
{{- end -}}

{{- /* Settings and where their file comes from: those of the keys, then secretFiles. */ -}}
{{- define "roost.secretFiles" -}}
{{- $keys := include "roost.keys" . -}}
{{- dict "api_key_file" (dict "secret" $keys "key" "api-key") "metrics_key_file" (dict "secret" $keys "key" "metrics-key") | merge (deepCopy .Values.secretFiles) | toYaml -}}
{{- end -}}

{{- /* What cannot be is said when it is rendered. */ -}}
{{- define "roost.check" -}}
{{- range list "listen" "admin_listen" "node_name" "drain_time" "close_timeout" "api_key" "api_key_file" "metrics_key" "metrics_key_file" -}}
{{- if hasKey $.Values.config . -}}
{{- fail (printf "config.%s is the chart's: see drainSeconds, closeSeconds, keys and the services in values.yaml" .) -}}
{{- end -}}
{{- end -}}
{{- range $name, $from := .Values.secretFiles -}}
{{- if hasKey $.Values.config $name -}}
{{- fail (printf "%s stands in config and in secretFiles" $name) -}}
{{- end -}}
{{- end -}}
{{- if and (eq (include "roost.engine" .) "memory") (or .Values.autoscaling.enabled (gt (int .Values.replicas) 1)) -}}
{{- fail "several pods with config.engine memory would be islands: a client of one hears nothing of the others; set config.engine and config.engine_address, or replicas to 1 and autoscaling.enabled to false" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.connectionsPerPod) (int (.Values.config.max_connections | default 30000))) -}}
{{- fail "autoscaling.connectionsPerPod is more than config.max_connections: no pod would ever have so many" -}}
{{- end -}}
{{- end -}}
