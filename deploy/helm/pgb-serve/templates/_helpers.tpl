{{- define "pgb.name" -}}
{{- contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "pgb.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "pgb.metadata" -}}
name: {{ include "pgb.name" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "pgb.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
  app.kubernetes.io/managed-by: {{ .Release.Service }}
  helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end }}

{{- define "pgb.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
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
