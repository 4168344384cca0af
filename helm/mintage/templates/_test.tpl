{{/* The pod of `helm test`. */}}

{{/* Whether it can call at all: it is in no mesh, so not where only the mesh comes in. */}}
{{- define "mintage.test.reaches" -}}
{{- $mesh := .Values.mesh -}}
{{- if not (or (and $mesh.linkerd.enabled $mesh.linkerd.authorization.enabled)
               (and $mesh.istio.enabled (or $mesh.istio.strict $mesh.istio.authorization.enabled))) -}}
yes
{{- end -}}
{{- end -}}

{{/* Whether it may mint and verify: it has something to prove itself with, or needs nothing. */}}
{{- define "mintage.test.proof" -}}
{{- if or .Values.test.existingSecret .Values.config.allow_anonymous_callers (include "mintage.test.certificate" .) }}yes{{ end -}}
{{- end -}}

{{/* A certificate makes a caller where some caller has a name in one. */}}
{{- define "mintage.test.certificate" -}}
{{- if .Values.test.clientCertificateSecret -}}
{{- range .Values.config.callers }}{{ if and .san (not .token_sha256) }}yes{{ end }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "mintage.test.index" -}}
{{- if .Values.test.index -}}
{{ .Values.test.index }}
{{- else if eq (len (default dict .Values.config.indexes)) 1 -}}
{{ first (keys .Values.config.indexes) }}
{{- end -}}
{{- end -}}

{{/* Its volumes, and the Secret of each. */}}
{{- define "mintage.test.secrets" -}}
{{- with .Values.test.existingSecret }}
caller: {{ . }}
{{- end }}
{{- if .Values.tls.enabled }}
ca: {{ default (include "mintage.tls.secret" .) .Values.test.caSecret }}
{{- with .Values.test.clientCertificateSecret }}
client: {{ . }}
{{- end }}
{{- end }}
{{- end -}}
