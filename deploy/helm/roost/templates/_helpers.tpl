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

{{- define "roost.about" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "roost.labels" -}}
{{ include "roost.selector" . }}
{{ include "roost.about" . }}
{{- end -}}

{{- define "roost.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "roost.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "roost.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "roost.keys" -}}
{{ .Values.keys.existingSecret | default (printf "%s-keys" (include "roost.fullname" .)) }}
{{- end -}}

{{- define "roost.engine" -}}
{{ .Values.config.engine | default "memory" }}
{{- end -}}

{{- /* Ports of the engine's servers and of the key sets, as the addresses say them: words. */ -}}
{{- define "roost.egressPorts" -}}
{{- $ports := dict -}}
{{- $addresses := .Values.config.engine_address | default (list "") -}}
{{- if kindIs "string" $addresses }}{{ $addresses = splitList "," $addresses }}{{ end -}}
{{- if ne (include "roost.engine" .) "memory" -}}
{{- range $address := $addresses -}}
{{- $own := ternary "4222" "6379" (eq (include "roost.engine" $) "nats") -}}
{{- if contains "sentinel://" $address -}}
{{- $_ := set $ports $own true -}}
{{- $own = "26379" -}}
{{- end -}}
{{- if not (hasPrefix "unix:" $address) -}}
{{- range $host := regexReplaceAll "^.*://|/.*$" (trim $address) "" | splitList "," -}}
{{- $_ := set $ports (regexFind ":[0-9]+$" $host | trimPrefix ":" | default $own) true -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $url := list .Values.config.token_jwks_url .Values.config.subscription_token_jwks_url | compact -}}
{{- $host := regexReplaceAll "^https://|[/?].*$" $url "" -}}
{{- $_ := set $ports (regexFind ":[0-9]+$" $host | trimPrefix ":" | default "443") true -}}
{{- end -}}
{{- keys $ports | sortAlpha | join " " -}}
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
{{- $secret := "(^|_)(password|secret_key|key_old)$" -}}
{{- range $name, $value := .Values.config -}}
{{- if and $value (regexMatch $secret $name) -}}
{{- fail (printf "config.%s is a secret, and config goes into a ConfigMap: name a Secret in secretFiles.%s_file, or in extraEnv" $name $name) -}}
{{- end -}}
{{- end -}}
{{- if or .Values.config.admin_tls_certificate .Values.secretFiles.admin_tls_certificate -}}
{{- fail "admin_tls_certificate: the chart's probes, its test and the ServiceMonitor ask the admin listener by plain HTTP, which the NetworkPolicy keeps in the cluster; an entry of config.listeners (kind: admin) can speak TLS beside it" -}}
{{- end -}}
{{- range $.Values.extraEnv -}}
{{- if has .name (list "ROOST_CONFIG" "ROOST_LISTEN" "ROOST_ADMIN_LISTEN" "ROOST_NODE_NAME" "ROOST_DRAIN_TIME" "ROOST_CLOSE_TIMEOUT" "ROOST_API_KEY" "ROOST_API_KEY_FILE" "ROOST_METRICS_KEY" "ROOST_METRICS_KEY_FILE") -}}
{{- fail (printf "extraEnv has %s, which is the chart's: see drainSeconds, closeSeconds, keys and the services in values.yaml" .name) -}}
{{- end -}}
{{- end -}}
{{- range $name, $from := .Values.secretFiles -}}
{{- if regexMatch $secret $name -}}
{{- fail (printf "secretFiles gives a setting the name of a file: %s_file, not %s" $name $name) -}}
{{- end -}}
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
