{{/* What is mounted where. A list of (volume, path), which the pod's two lists are made of. */}}

{{- define "mintage.volumes" -}}
{{- $name := include "mintage.fullname" . -}}
- name: config
  configMap:
    name: {{ $name }}
- name: keys
  {{- if .Values.keyring.generate.enabled }}
  projected:
    defaultMode: 0440
    sources:
      {{- range .Values.keyring.generate.keys }}
      - secret:
          name: {{ $name }}-key-{{ . }}
      {{- end }}
  {{- else }}
  secret:
    secretName: {{ .Values.keyring.existingSecret }}
    defaultMode: 0440
  {{- end }}
{{- if .Values.redis.existingSecret }}
- name: redis
  secret:
    secretName: {{ .Values.redis.existingSecret }}
    defaultMode: 0440
{{- end }}
{{- if .Values.tls.enabled }}
- name: tls
  {{- with .Values.tls.volume }}
  {{- toYaml . | nindent 2 }}
  {{- else }}
  secret:
    secretName: {{ include "mintage.tls.secret" . }}
    defaultMode: 0440
  {{- end }}
{{- with .Values.tls.clientCa }}
{{- if .existingConfigMap }}
- name: clients
  configMap:
    name: {{ .existingConfigMap }}
{{- else if .existingSecret }}
- name: clients
  secret:
    secretName: {{ .existingSecret }}
    defaultMode: 0440
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.issuerCa.existingConfigMap }}
- name: issuers
  configMap:
    name: {{ . }}
{{- end }}
{{- with .Values.otlp.existingSecret }}
- name: otlp
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "mintage.volumeMounts" -}}
{{- $names := list "config" "keys" -}}
{{- if .Values.redis.existingSecret }}{{ $names = append $names "redis" }}{{ end -}}
{{- if .Values.tls.enabled }}
{{- $names = append $names "tls" }}
{{- if and (include "mintage.clientCa" .) (not .Values.tls.clientCa.fromServer) }}{{ $names = append $names "clients" }}{{ end -}}
{{- end }}
{{- if .Values.issuerCa.existingConfigMap }}{{ $names = append $names "issuers" }}{{ end -}}
{{- if .Values.otlp.existingSecret }}{{ $names = append $names "otlp" }}{{ end -}}
{{- range $names }}
- name: {{ . }}
  mountPath: {{ include (printf "mintage.paths.%s" .) $ }}
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The Secret with the server's certificate, where it is one. */}}
{{- define "mintage.tls.secret" -}}
{{- if .Values.tls.certManager.enabled -}}
{{ include "mintage.fullname" . }}-tls
{{- else -}}
{{ .Values.tls.existingSecret }}
{{- end -}}
{{- end -}}

{{/* `grpc` or `http`. The kubelet's gRPC probes don't speak TLS, and a mesh may hold them
     for a stranger's calls; /readyz says the very same. */}}
{{- define "mintage.readiness" -}}
{{- if ne .Values.probes.readiness "auto" -}}
{{ .Values.probes.readiness }}
{{- else if or .Values.tls.enabled .Values.mesh.linkerd.enabled .Values.mesh.istio.enabled -}}
http
{{- else -}}
grpc
{{- end -}}
{{- end -}}

{{- define "mintage.probes" -}}
{{- $probes := .Values.probes -}}
startupProbe:
  httpGet:
    path: /livez
    port: admin
  {{- toYaml $probes.startupTiming | nindent 2 }}
readinessProbe:
  {{- if eq (include "mintage.readiness" .) "grpc" }}
  grpc:
    port: {{ int .Values.ports.grpc }}
  {{- else }}
  httpGet:
    path: /readyz
    port: admin
  {{- end }}
  {{- toYaml $probes.readinessTiming | nindent 2 }}
# Not gRPC health: that says no while the store is down, which is no reason to restart.
livenessProbe:
  httpGet:
    path: /livez
    port: admin
  {{- toYaml $probes.livenessTiming | nindent 2 }}
{{- end -}}

{{/* Each entry that says nothing of the pods it counts counts those of its own ReplicaSet:
     old ones that are about to go would lead it astray during a rollout. */}}
{{- define "mintage.spread" -}}
{{- $spread := list -}}
{{- range .Values.topologySpreadConstraints -}}
{{- $one := deepCopy . -}}
{{- if not (hasKey $one "labelSelector") -}}
{{- $_ := set $one "labelSelector" (dict "matchLabels" (include "mintage.selector" (dict "root" $) | fromYaml)) -}}
{{- if not (hasKey $one "matchLabelKeys") }}{{ $_ := set $one "matchLabelKeys" (list "pod-template-hash") }}{{ end -}}
{{- end -}}
{{- $spread = append $spread $one -}}
{{- end -}}
{{- toYaml $spread -}}
{{- end -}}

{{- define "mintage.podAnnotations" -}}
checksum/config: {{ include "mintage.config.checksum" . }}
{{- if .Values.mesh.linkerd.enabled }}
linkerd.io/inject: enabled
{{- end }}
{{- with .Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "mintage.podLabels" -}}
{{- include "mintage.selector" (dict "root" .) }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- if .Values.mesh.istio.enabled }}
sidecar.istio.io/inject: "true"
{{- end }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- with .Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}
