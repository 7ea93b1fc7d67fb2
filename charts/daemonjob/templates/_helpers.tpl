{{/*
Names leave room for the longest suffix (-webhook-root) within the 63 characters of a DNS label, and have no dots:
a Service's name must be one.
*/}}
{{- define "daemonjob.name" -}}
{{- default .Chart.Name .Values.nameOverride | replace "." "-" | trunc 48 | trimSuffix "-" }}
{{- end }}

{{- define "daemonjob.fullname" -}}
{{- $name := include "daemonjob.name" . }}
{{- if .Values.fullnameOverride }}
{{- $name = .Values.fullnameOverride }}
{{- else if contains $name .Release.Name }}
{{- $name = .Release.Name }}
{{- else }}
{{- $name = printf "%s-%s" .Release.Name $name }}
{{- end }}
{{- $name | replace "." "-" | trunc 48 | trimSuffix "-" }}
{{- end }}

{{- define "daemonjob.selectorLabels" -}}
app.kubernetes.io/name: {{ include "daemonjob.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "daemonjob.ownLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "daemonjob.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Labels of the user's never replace ours. */}}
{{- define "daemonjob.labels" -}}
{{- merge (include "daemonjob.ownLabels" . | fromYaml) .Values.commonLabels | toYaml }}
{{- end }}

{{- define "daemonjob.podLabels" -}}
{{- merge (include "daemonjob.ownLabels" . | fromYaml) .Values.podLabels .Values.commonLabels | toYaml }}
{{- end }}

{{- define "daemonjob.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "daemonjob.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is required when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "daemonjob.image" -}}
{{- with .Values.image.registry }}{{ trimSuffix "/" . }}/{{ end }}
{{- .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ default .Chart.AppVersion .Values.image.tag }}{{ end }}
{{- end }}

{{/* The Service, and in mode certManager the Certificate. */}}
{{- define "daemonjob.webhookService" -}}
{{ include "daemonjob.fullname" . }}-webhook
{{- end }}

{{/* In mode self the Secret holds the authority, in the other modes the serving certificate. */}}
{{- define "daemonjob.certsSecret" -}}
{{- $kind := ternary "ca" "tls" (eq .Values.webhook.certs.mode "self") }}
{{- default (printf "%s-webhook-%s" (include "daemonjob.fullname" .) $kind) .Values.webhook.certs.secretName }}
{{- end }}

{{/* Not empty when DaemonJob makes its own certificates. */}}
{{- define "daemonjob.selfSigned" -}}
{{- if and .Values.webhook.enabled (eq .Values.webhook.certs.mode "self") }}true{{ end }}
{{- end }}

{{/* Where the process listens, without the port. */}}
{{- define "daemonjob.listen" -}}
{{- $address := .Values.listenAddress }}
{{- if contains ":" $address }}[{{ $address }}]{{ else }}{{ $address }}{{ end }}
{{- end }}

{{/* What both kinds of monitor say of an endpoint, after its port. */}}
{{- define "daemonjob.endpoint" -}}
path: /metrics
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Combinations that the schema cannot refuse in words. */}}
{{- define "daemonjob.check" -}}
{{- $webhook := .Values.webhook }}
{{- $certs := $webhook.certs }}
{{- if not (or .Values.controller.enabled $webhook.enabled) }}
{{- fail "controller.enabled and webhook.enabled are both false: nothing would run" }}
{{- end }}
{{- if and $webhook.url (not $webhook.enabled) }}
{{- fail "webhook.url is set but webhook.enabled is false: remove one" }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled }}
{{- fail "serviceMonitor.enabled and podMonitor.enabled are both true: every Pod would be scraped twice" }}
{{- end }}
{{- if eq (int $webhook.securePort) (int .Values.adminPort) }}
{{- fail "webhook.securePort and adminPort are the same port" }}
{{- end }}
{{- if $webhook.url }}
{{- range $value := list "hostNetwork" "networkPolicy" "serviceMonitor" "podMonitor" }}
{{- $given := index $.Values $value }}
{{- if kindIs "map" $given }}{{ $given = $given.enabled }}{{ end }}
{{- if $given }}
{{- fail (printf "webhook.url means that no Pod is rendered, and %s is about Pods: remove one" $value) }}
{{- end }}
{{- end }}
{{- end }}
{{- if $webhook.enabled }}
{{- if and $certs.caBundle (ne $certs.mode "existingSecret") }}
{{- fail (printf "webhook.certs.caBundle belongs to mode existingSecret: in mode %s the bundle is filled in while it runs" $certs.mode) }}
{{- end }}
{{- if and $certs.issuerRef (ne $certs.mode "certManager") }}
{{- fail (printf "webhook.certs.issuerRef belongs to mode certManager, not to %s" $certs.mode) }}
{{- end }}
{{- if and $certs.issuerRef (not $certs.issuerRef.name) }}
{{- fail "webhook.certs.issuerRef.name is required when issuerRef is given" }}
{{- end }}
{{- if and $webhook.url (eq $certs.mode "certManager") }}
{{- fail "webhook.url and webhook.certs.mode certManager exclude each other: use self or existingSecret" }}
{{- end }}
{{- if and (eq $certs.mode "existingSecret") (not $webhook.url) }}
{{- $_ := required "webhook.certs.secretName is required in mode existingSecret" $certs.secretName }}
{{- $_ := required "webhook.certs.caBundle is required in mode existingSecret" $certs.caBundle }}
{{- end }}
{{- end }}
{{- end }}
