# Mintage's image: one program, the libraries it is linked with, certificate
# authorities. Built where base images can be pulled, for the builder's own machine
# (amd64 or arm64); `docker buildx build --platform linux/amd64,linux/arm64` makes
# both, each on a node of its kind or, slowly, emulated.
#
#   docker build --build-arg REVISION="$(git rev-parse HEAD)" \
#       --build-arg CREATED="$(git show --no-patch --format=%cI)" --tag mintage .
#
# Where none can be pulled, `make image` makes the last stage out of a program built
# on that machine.

FROM rust:1.95.0-bookworm AS build
ARG TARGETARCH
ARG CREATED=1970-01-01T00:00:00Z
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY scripts/sbom-requirements.txt scripts/
RUN python3 -m venv /opt/sbom \
    && /opt/sbom/bin/pip install --no-cache-dir --requirement scripts/sbom-requirements.txt

# What is compiled stays with the builder, so that a change costs no more than on a
# developer's machine; each platform has its own, since both may be built at once.
COPY . .
RUN --mount=type=cache,id=mintage-registry-$TARGETARCH,target=/usr/local/cargo/registry \
    --mount=type=cache,id=mintage-target-$TARGETARCH,target=/source/target \
    cargo build --release --locked \
    && /opt/sbom/bin/python scripts/sbom.py --created "$CREATED" /tmp/mintage.cdx.json \
    && scripts/image-root target/release/mintage /image /tmp/mintage.cdx.json

# scripts/image takes from here on, and changes the COPY alone.
FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="Mintage" \
      org.opencontainers.image.description="Mints, checks and narrows the upload tokens of a Python package index" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
# By number, so that Kubernetes' runAsNonRoot can see that it isn't root. Nothing in
# the image is this user's, and the service writes nothing: it runs read-only.
USER 65532:65532
EXPOSE 50051 9090
# Whoever runs it asks for its health by gRPC, or by HTTP for /readyz and /livez on
# admin_listen. A check from within would need a program within.
HEALTHCHECK NONE
ENTRYPOINT ["/mintage"]
CMD ["serve", "--config", "/etc/mintage/mintage.toml"]
COPY --from=build /image/ /
