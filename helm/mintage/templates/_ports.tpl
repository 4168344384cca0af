{{/* Ports that the configuration names, for the NetworkPolicy. Each helper gives a list as
     YAML, each port once. */}}

{{/* Of the hosts in `redis://user@one:6379,two/0`, and of the servers behind sentinels. */}}
{{- define "mintage.ports.redis" -}}
{{- $store := include "mintage.config.store" . | fromYaml -}}
{{- $ports := list -}}
{{- $sentinel := eq (default "" $store.topology) "sentinel" -}}
{{- range .Values.networkPolicy.egress.redisPorts | default (ternary (list 6379) (list) $sentinel) }}{{ $ports = append $ports (int .) }}{{ end -}}
{{- with $store.url -}}
{{- $hosts := regexReplaceAll "^rediss?://([^@/]*@)?|/.*$" . "" -}}
{{- range splitList "," $hosts -}}
{{- $port := regexFind ":[0-9]+$" . | trimPrefix ":" -}}
{{- $ports = append $ports (int (default (ternary "26379" "6379" $sentinel) $port)) -}}
{{- end -}}
{{- end -}}
{{- toYaml ($ports | uniq) -}}
{{- end -}}

{{- define "mintage.ports.issuers" -}}
{{- $ports := list -}}
{{- range .Values.config.issuers -}}
{{- $ports = append $ports (int (include "mintage.port" (dict "host" (urlParse .url).host "otherwise" 443))) -}}
{{- range .jwks_hosts -}}
{{- $ports = append $ports (int (include "mintage.port" (dict "host" . "otherwise" 443))) -}}
{{- end -}}
{{- end -}}
{{- toYaml ($ports | uniq) -}}
{{- end -}}

{{- define "mintage.port" -}}
{{- default (toString .otherwise) (regexFind ":[0-9]+$" .host | trimPrefix ":") -}}
{{- end -}}
