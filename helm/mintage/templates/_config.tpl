{{/* The configuration: what `config` says, and what the chart adds to it. */}}

{{- define "mintage.paths.config" -}}/etc/mintage/config{{- end -}}
{{- define "mintage.paths.keys" -}}/etc/mintage/keys{{- end -}}
{{- define "mintage.paths.redis" -}}/etc/mintage/redis{{- end -}}
{{- define "mintage.paths.tls" -}}/etc/mintage/tls{{- end -}}
{{- define "mintage.paths.clients" -}}/etc/mintage/clients{{- end -}}
{{- define "mintage.paths.issuers" -}}/etc/mintage/issuers{{- end -}}
{{- define "mintage.paths.otlp" -}}/etc/mintage/otlp{{- end -}}

{{/* The whole configuration, as YAML. */}}
{{- define "mintage.config" -}}
{{- $values := .Values -}}
{{- $config := deepCopy $values.config -}}
{{- $_ := set $config "listen" (printf "%s:%d" $values.ports.address (int64 $values.ports.grpc)) -}}
{{- $_ := set $config "admin_listen" (printf "%s:%d" $values.ports.address (int64 $values.ports.admin)) -}}
{{- $_ := set $config "keyring" (dict "directory" (include "mintage.paths.keys" .) "current" (include "mintage.keyring.current" .)) -}}
{{- $_ := set $config "store" (include "mintage.config.store" . | fromYaml) -}}
{{- if $values.tls.enabled -}}
{{- $_ := set $config.server "tls" (include "mintage.config.tls" . | fromYaml) -}}
{{- end -}}
{{- $telemetry := include "mintage.config.files" (dict "path" (include "mintage.paths.otlp" .) "files" (dict
      "otlp_headers_file" $values.otlp.secretKeys.headers
      "otlp_ca_file" $values.otlp.secretKeys.ca)) | fromYaml -}}
{{- $_ := set $config "telemetry" (merge $telemetry $config.telemetry) -}}
{{- range tuple "callers" "issuers" "limits" "telemetry" -}}
{{- if not (get $config .) }}{{ $_ := unset $config . }}{{ end -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The same as TOML. */}}
{{- define "mintage.config.toml" -}}
# Made by Helm from the chart's values.
{{ include "mintage.toml" (dict "path" "" "table" (include "mintage.config" . | fromYaml)) | trim }}
{{ end -}}

{{/* What of it takes a new pod to change. Not the key that mints and the callers, which pods
     read anew; but whether there are any callers. */}}
{{- define "mintage.config.checksum" -}}
{{- $config := include "mintage.config" . | fromYaml -}}
{{- $_ := set $config "callers" (not (empty .Values.config.callers)) -}}
{{- $_ := unset $config.keyring "current" -}}
{{- toYaml $config | sha256sum -}}
{{- end -}}

{{- define "mintage.config.store" -}}
{{- $store := deepCopy .Values.config.store -}}
{{- if .Values.valkey.enabled -}}
{{- $_ := set $store "kind" "redis" -}}
{{- $_ := set $store "url" (printf "redis://%s-valkey:6379" (include "mintage.fullname" .)) -}}
{{- end -}}
{{- if not $store.kind }}{{ $_ := set $store "kind" "memory" }}{{ end -}}
{{- $keys := .Values.redis.secretKeys -}}
{{- $files := include "mintage.config.files" (dict "path" (include "mintage.paths.redis" .) "files" (dict
      "url_file" $keys.url
      "password_file" $keys.password
      "sentinel_password_file" $keys.sentinelPassword
      "ca_file" $keys.ca
      "client_certificate_file" $keys.clientCertificate
      "client_key_file" $keys.clientKey)) | fromYaml -}}
{{- toYaml (merge $files $store) -}}
{{- end -}}

{{- define "mintage.config.tls" -}}
{{- $path := include "mintage.paths.tls" . -}}
{{- $ca := .Values.tls.clientCa -}}
certificate_file: {{ $path }}/tls.crt
key_file: {{ $path }}/tls.key
{{- if $ca.fromServer }}
client_ca_file: {{ $path }}/{{ $ca.key }}
client_certificates: {{ $ca.clientCertificates }}
{{- else if include "mintage.clientCa" . }}
client_ca_file: {{ include "mintage.paths.clients" . }}/{{ $ca.key }}
client_certificates: {{ $ca.clientCertificates }}
{{- end }}
{{- end -}}

{{/* Whether clients are asked for certificates. */}}
{{- define "mintage.clientCa" -}}
{{- with .Values.tls.clientCa }}{{ if or .existingConfigMap .existingSecret .fromServer }}yes{{ end }}{{ end -}}
{{- end -}}

{{/* The keys that name a file, for those entries that have a name. */}}
{{- define "mintage.config.files" -}}
{{- $path := .path -}}
{{- range $key, $entry := .files -}}
{{- if $entry }}
{{ $key }}: {{ $path }}/{{ $entry }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "mintage.store.kind" -}}
{{- (include "mintage.config.store" . | fromYaml).kind -}}
{{- end -}}

{{- define "mintage.keyring.current" -}}
{{- $keyring := .Values.keyring -}}
{{- if and $keyring.generate.enabled (not $keyring.current) -}}
{{- first $keyring.generate.keys -}}
{{- else -}}
{{- $keyring.current -}}
{{- end -}}
{{- end -}}

{{/* A span of time in seconds, rounded up: `25s`, `1m30s`, or whole seconds. */}}
{{- define "mintage.seconds" -}}
{{- if kindIs "string" . -}}
{{- $total := 0.0 -}}
{{- range regexFindAll "[0-9]+(ms|s|m|h|d)" . -1 -}}
{{- $count := float64 (regexFind "^[0-9]+" .) -}}
{{- $unit := get (dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 "d" 86400.0) (regexFind "[a-z]+$" .) -}}
{{- $total = addf $total (mulf $count $unit) -}}
{{- end -}}
{{- int (ceil $total) -}}
{{- else -}}
{{- int . -}}
{{- end -}}
{{- end -}}
