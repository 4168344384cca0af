{{/* Names and labels. */}}

{{- define "mintage.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 48 characters, so that every suffix fits into a DNS label. */}}
{{- define "mintage.fullname" -}}
{{- $name := include "mintage.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "mintage.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "mintage.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What a pod is found by: of one component, or the server's where none is named. */}}
{{- define "mintage.selector" -}}
app.kubernetes.io/name: {{ include "mintage.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ default "server" .component }}
{{- end -}}

{{- define "mintage.labels" -}}
{{- include "mintage.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The metadata of everything that is made. `suffix` ends the name; `namespace`, `labels`
     and `annotations` are an object's own. */}}
{{- define "mintage.metadata" -}}
metadata:
  name: {{ include "mintage.fullname" .root }}{{ .suffix }}
  namespace: {{ default .root.Release.Namespace .namespace }}
  labels:
    {{- include "mintage.labels" . | nindent 4 }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "mintage.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ default .appVersion .image.tag }}
{{- end -}}
{{- end -}}

{{- define "mintage.appProtocol" -}}
{{- if .Values.service.appProtocol -}}
{{ .Values.service.appProtocol }}
{{- else if .Values.tls.enabled -}}
https
{{- else if .Values.mesh.istio.enabled -}}
grpc
{{- else -}}
kubernetes.io/h2c
{{- end -}}
{{- end -}}

{{/* A number, or a percentage in quotes. */}}
{{- define "mintage.intOrPercent" -}}
{{- if hasSuffix "%" (toString .) }}{{ . | quote }}{{ else }}{{ int . }}{{ end -}}
{{- end -}}
