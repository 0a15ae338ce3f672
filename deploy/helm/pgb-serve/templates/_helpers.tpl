{{- define "pgb.name" -}}
{{- contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "pgb.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "pgb.labels" -}}
{{- include "pgb.selector" . }}
{{- /* A label begins and ends with a letter or a digit, which a tag need not. */}}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | trimAll "-._" | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end }}

{{- define "pgb.metadata" -}}
name: {{ include "pgb.name" . }}
namespace: {{ .Release.Namespace | quote }}
labels:
  {{- include "pgb.labels" . | nindent 2 }}
{{- end }}

{{- define "pgb.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end }}
{{- end }}

{{/* What the schema cannot say in words. */}}
{{- define "pgb.checked" -}}
{{- $v := .Values }}
{{- if not $v.image.repository }}
{{- fail "image.repository is empty. Set it to where you pushed the image, for example registry.example/ml/pgb-serve" }}
{{- end }}
{{- if not (or $v.image.tag $v.image.digest) }}
{{- fail "image.tag and image.digest are both empty. Set image.digest to sha256:... of the image to run, or image.tag" }}
{{- end }}
{{- if and $v.keys.enabled (not $v.keys.secret) }}
{{- fail "keys.secret is empty. Name the Secret with the file of keys, or set keys.enabled to false, and everyone who reaches the port may ask" }}
{{- end }}
{{- if and $v.settings.metrics_key (not $v.keys.enabled) }}
{{- fail "settings.metrics_key is true, but keys.enabled is false. There is no key to ask for: remove one of the two" }}
{{- end }}
{{- if and $v.settings.metrics_key (eq (toString $v.settings.metrics) "false") }}
{{- fail "settings.metrics_key is true, but settings.metrics is false. No metrics are served: remove one of the two" }}
{{- end }}
{{- if and $v.podMonitor.enabled $v.settings.metrics_key (not $v.podMonitor.keySecret.name) }}
{{- fail "podMonitor.keySecret.name is empty, but settings.metrics_key is true. Name the Secret with the key that Prometheus sends" }}
{{- end }}
{{- if and $v.ingress.enabled (not $v.ingress.host) }}
{{- fail "ingress.host is empty. Set it to the host name that clients use" }}
{{- end }}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.gateways) }}
{{- fail "httpRoute.gateways is empty. Name a gateway, for example [{name: public, namespace: gateways}]" }}
{{- end }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" (include "pgb.name" .)) }}
{{- fail (printf "the release is named %s, and no Service may be named after that. Choose a name of a-z, 0-9 and -, with a letter first" .Release.Name) }}
{{- end }}
{{- if and (ne $v.autoscaling.engine "none") (gt (int64 $v.autoscaling.min) (int64 $v.autoscaling.max)) }}
{{- fail (printf "autoscaling.min is %d, but autoscaling.max is %d. Lower min or raise max" (int64 $v.autoscaling.min) (int64 $v.autoscaling.max)) }}
{{- end }}
{{- with $v.rollingUpdate }}
{{- if not (or (regexFind "[1-9]" (toString .maxSurge)) (regexFind "[1-9]" (toString .maxUnavailable))) }}
{{- fail "rollingUpdate.maxSurge and rollingUpdate.maxUnavailable are both 0: no pod could be replaced. Raise one of them" }}
{{- end }}
{{- end }}
{{- with $v.prometheusRule.file }}
{{- $rules := fromYaml . }}
{{- if not (kindIs "slice" (get $rules "groups")) }}
{{- fail (printf "prometheusRule.file is no file of rules: %s. Pass one with --set-file prometheusRule.file=PATH" (get $rules "Error" | default "it has no list named groups")) }}
{{- end }}
{{- end }}
{{- if and $v.settings.otlp_endpoint $v.networkPolicy.enabled (not $v.networkPolicy.egress) }}
{{- fail "settings.otlp_endpoint is set, but networkPolicy.egress is empty: no pod could reach it. Add rules for the collector, and for DNS on port 53, to networkPolicy.egress" }}
{{- end }}
{{- include "pgb.checkedSettings" . }}
{{- include "pgb.checkedLabels" . }}
{{- end }}

{{/* Settings that do not go with each other, or with the other values. Where one is not set, the service's own counts. */}}
{{- define "pgb.checkedSettings" -}}
{{- $v := .Values }}
{{- $s := $v.settings }}
{{- $body := int64 ($s.max_body_bytes | default 4194304) }}
{{- $pending := int64 ($s.max_pending_bytes | default 268435456) }}
{{- if lt (float64 $pending) (mulf 2.5 $body) }}
{{- fail (printf "settings.max_pending_bytes is %d, but settings.max_body_bytes is %d. Give max_pending_bytes at least 2.5 times as many" $pending $body) }}
{{- end }}
{{- $load := float64 ($s.max_load_seconds | default 300) }}
{{- if gt $load (float64 $v.startupSeconds) }}
{{- fail (printf "settings.max_load_seconds is %s, but startupSeconds is %d: a pod would be started again while it loads. Raise startupSeconds" (include "pgb.setting" $load) (int64 $v.startupSeconds)) }}
{{- end }}
{{- if eq (toString $s.metrics) "false" }}
{{- range $name, $asks := dict "podMonitor.enabled" $v.podMonitor.enabled "prometheusRule" (or $v.prometheusRule.enabled $v.prometheusRule.file) "autoscaling.engine" (ne $v.autoscaling.engine "none") }}
{{- if $asks }}
{{- fail (printf "settings.metrics is false, but %s asks for metrics. Set settings.metrics to true, or do without the other" $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* A label that the chart gives would be there twice, and pods with another value would not be found. */}}
{{- define "pgb.checkedLabels" -}}
{{- $v := .Values }}
{{- $own := include "pgb.labels" . | fromYaml }}
{{- range $where, $given := dict "podMonitor.labels" $v.podMonitor.labels "prometheusRule.labels" $v.prometheusRule.labels "dashboard.labels" $v.dashboard.labels "podLabels" $v.podLabels }}
{{- range $label, $_ := eq $where "podLabels" | ternary (include "pgb.selector" $ | fromYaml) $own }}
{{- if hasKey ($given | default dict) $label }}
{{- fail (printf "%s has %s, which the chart itself gives. Leave it out" $where $label) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* One setting as the environment writes it. Values arrive as floats: 268435456 would be written 2.68435456e+08. */}}
{{- define "pgb.setting" -}}
{{- if kindIs "slice" . }}{{ join "," . }}
{{- else if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}
{{- else }}{{ . }}{{ end }}
{{- end }}

{{- define "pgb.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* Without traffic the quantile is not a number, which the comparison drops: 0 if a pod is scraped, and nothing if none is. */}}
{{- define "pgb.queueWait" -}}
{{- $own := printf "namespace=%s,service=%s" (.Release.Namespace | quote) (include "pgb.name" . | quote) -}}
(histogram_quantile(0.95, sum by (le) (rate(pgb_queue_duration_seconds_bucket{ {{- $own -}} }[1m]))) >= 0) or (0 * max(up{job="pgb",{{ $own }}} == 1))
{{- end }}
