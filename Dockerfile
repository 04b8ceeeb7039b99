# Only the programs, the libraries they load, certificates, time zones: no shell, no package manager. Build with any OCI
# builder: docker build -t roost .
# Debug symbols of the same build: docker build --target debug -o debug . (for /usr/lib/debug/.build-id)
FROM docker.io/library/debian:bookworm-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev make libev-dev libwslay-dev libssl-dev libyaml-dev zlib1g-dev \
        libcjose-dev libjansson-dev libpcre2-dev libcurl4-openssl-dev libseccomp-dev libc-ares-dev systemtap-sdt-dev ca-certificates tzdata \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Makefile LICENSE README.md ./
COPY include include
COPY src src
COPY cmd cmd
COPY deploy deploy
# What `roostd --version` shows; a build context has no git history. SOURCE_DATE_EPOCH: the time of every file of the image.
ARG REVISION=image
ARG VERSION=0.1.0
ARG SOURCE_DATE_EPOCH=0
RUN make install-strip PREFIX=/usr/local DESTDIR=/out REVISION="$REVISION" \
 && SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" deploy/image.sh /image /out/usr/local/bin "$VERSION"

FROM scratch AS debug
COPY --from=build /out/usr/lib/debug/.build-id/ /

FROM scratch
ARG REVISION=image
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Roost" \
      org.opencontainers.image.description="WebSocket gateway" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /image/ /
ENV PATH=/usr/local/bin
USER 10001:10001
EXPOSE 8000 8001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/local/bin/roostctl", "health"]
ENTRYPOINT ["/usr/local/bin/roostd"]
