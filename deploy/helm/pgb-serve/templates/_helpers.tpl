{{- define "pgb.name" -}}
{{- contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "pgb.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "pgb.labels" -}}
{{- include "pgb.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end }}

{{- define "pgb.metadata" -}}
name: {{ include "pgb.name" . }}
namespace: {{ .Release.Namespace }}
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
{{- if and $v.podMonitor.enabled $v.settings.metrics_key (not $v.podMonitor.keySecret.name) }}
{{- fail "podMonitor.keySecret.name is empty, but settings.metrics_key is true. Name the Secret with the key that Prometheus sends" }}
{{- end }}
{{- if and $v.ingress.enabled (not $v.ingress.host) }}
{{- fail "ingress.host is empty. Set it to the host name that clients use" }}
{{- end }}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.gateways) }}
{{- fail "httpRoute.gateways is empty. Name a gateway, for example [{name: public, namespace: gateways}]" }}
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

{{/* Without traffic the quantile is not a number, which the comparison drops. */}}
{{- define "pgb.queueWait" -}}
(histogram_quantile(0.95, sum by (le) (rate(pgb_queue_duration_seconds_bucket{namespace={{ .Release.Namespace | quote }},service={{ include "pgb.name" . | quote }}}[1m]))) >= 0) or vector(0)
{{- end }}
