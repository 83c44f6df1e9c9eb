# syntax=docker/dockerfile:1

# On Alpine the default target is musl, which links statically: one recipe for amd64 and arm64.
FROM rust:1.95-alpine AS build
# The C library's headers, for the assembly of the TLS library. Not pinned: Alpine removes old versions from its mirrors.
# hadolint ignore=DL3018
RUN apk add --no-cache musl-dev
WORKDIR /source
COPY Cargo.toml Cargo.lock ./
COPY src ./src
# The caches are not part of the layer, so the binary is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --locked --release --bin cofferdam && cp target/release/cofferdam /cofferdam

FROM gcr.io/distroless/static-debian12:nonroot
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="cofferdam" \
      org.opencontainers.image.description="Keeps every Kubernetes namespace watertight with NetworkPolicies" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY LICENSE /LICENSE
COPY --from=build /cofferdam /cofferdam
# By number: the kubelet can prove runAsNonRoot only of a number.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/cofferdam"]
