# The compiler stays behind. Build with any OCI builder: docker build -t roost .
# Debug symbols of the same build: docker build --target debug -o debug . (for /usr/lib/debug/.build-id)
FROM docker.io/library/debian:bookworm-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev make libev-dev libwslay-dev libssl-dev libyaml-dev zlib1g-dev \
        libcjose-dev libjansson-dev libpcre2-dev libcurl4-openssl-dev libseccomp-dev libc-ares-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Makefile LICENSE README.md ./
COPY include include
COPY src src
COPY cmd cmd
COPY deploy deploy
# What `roostd --version` shows; a build context has no git history.
ARG REVISION=image
RUN make install-strip PREFIX=/usr/local DESTDIR=/out REVISION="$REVISION"

FROM scratch AS debug
COPY --from=build /out/usr/lib/debug/.build-id/ /

FROM docker.io/library/debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends libev4 libwslay1 libssl3 libyaml-0-2 zlib1g \
        libcjose0 libjansson4 libpcre2-8-0 libcurl4 libseccomp2 libc-ares2 ca-certificates \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log \
 && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin roost
COPY --from=build /out/usr/local/bin/ /usr/local/bin/
COPY --from=build /out/usr/local/share/doc/roost/ /usr/local/share/doc/roost/
USER 10001:10001
EXPOSE 8000 8001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/local/bin/roostctl", "health"]
ENTRYPOINT ["/usr/local/bin/roostd"]
