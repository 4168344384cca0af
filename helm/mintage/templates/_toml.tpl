{{/* YAML's values as TOML. Helm's own toToml writes every whole number that came from a
     file of values as a float, which Mintage refuses. */}}

{{/* A table's keys, and then the tables in it. */}}
{{- define "mintage.toml" -}}
{{- $path := .path -}}
{{- range $key, $value := .table }}
{{- if not (or (kindIs "invalid" $value) (include "mintage.toml.tables" $value)) }}
{{ include "mintage.toml.key" $key }} = {{ include "mintage.toml.value" (dict "key" $key "value" $value) }}
{{- end }}
{{- end }}
{{- range $key, $value := .table }}
{{- $here := include "mintage.toml.key" $key }}
{{- if $path }}{{ $here = printf "%s.%s" $path $here }}{{ end }}
{{- $tables := include "mintage.toml.tables" $value }}
{{- if eq $tables "one" }}
{{- if include "mintage.toml.keys" $value }}

[{{ $here }}]
{{- end }}
{{- include "mintage.toml" (dict "path" $here "table" $value) }}
{{- else if eq $tables "many" }}
{{- range $value }}

[[{{ $here }}]]
{{- include "mintage.toml" (dict "path" $here "table" .) }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* `one` for a table, `many` for a list of tables, nothing for anything else. */}}
{{- define "mintage.toml.tables" -}}
{{- if kindIs "map" . -}}
one
{{- else if and (kindIs "slice" .) . -}}
{{- if kindIs "map" (first .) }}many{{ end -}}
{{- end -}}
{{- end -}}

{{/* Whether a table needs its header: it has keys of its own, or nothing at all. */}}
{{- define "mintage.toml.keys" -}}
{{- if not . -}}
empty
{{- end -}}
{{- range $value := . -}}
{{- if not (or (kindIs "invalid" $value) (include "mintage.toml.tables" $value)) }}some{{ end -}}
{{- end -}}
{{- end -}}

{{- define "mintage.toml.key" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ toRawJson . }}{{ end -}}
{{- end -}}

{{/* One value, or a list of them. A string in JSON is one in TOML. `trace_ratio` is the
     one key that is a float even where it is whole. */}}
{{- define "mintage.toml.value" -}}
{{- $value := .value -}}
{{- if kindIs "slice" $value -}}
[
{{- range $at, $item := $value -}}
{{- if $at }}, {{ end }}{{ include "mintage.toml.value" (dict "key" "" "value" $item) -}}
{{- end -}}
]
{{- else if and (eq .key "trace_ratio") (not (kindIs "string" $value)) -}}
{{- $text := toJson (float64 $value) -}}
{{- if contains "." $text }}{{ $text }}{{ else }}{{ $text }}.0{{ end -}}
{{- else if and (kindIs "float64" $value) (eq (float64 (int64 $value)) $value) -}}
{{- printf "%d" (int64 $value) -}}
{{- else -}}
{{- toRawJson $value -}}
{{- end -}}
{{- end -}}
