# Docker, its Compose plugin and the images of the examples. build.sh sources it.

readonly COMPOSE_VERSION=2.40.3

need_docker() {
  have docker || install_packages docker.io
  docker info &>/dev/null || die "no Docker engine answers here; start one (\`dockerd\`), or name it by DOCKER_HOST"
  docker compose version &>/dev/null || install_compose
}

# From the Go module proxy, as a plugin in a folder of .tools.
install_compose() {
  local folder=$TOOLS/docker-compose-$COMPOSE_VERSION
  have go || install_packages golang-go
  [[ -d $folder ]] || get_compose "$folder" || die "Docker Compose $COMPOSE_VERSION cannot be had"
  export DOCKER_CONFIG=$folder
}

# A module with `exclude` cannot be installed, only built where it is.
get_compose() {
  local module source
  rm -rf "$1.part"
  module=$(go mod download -json "github.com/docker/compose/v2@v$COMPOSE_VERSION" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p' | grep .) || return
  source=$(mktemp -d)
  cp -r --no-preserve=mode "$module/." "$source" || return
  (
    cd "$source"
    CGO_ENABLED=0 quietly "building Docker Compose $COMPOSE_VERSION: minutes, once" nice -n 19 go build -trimpath \
      -ldflags "-s -w -X github.com/docker/compose/v2/internal.Version=v$COMPOSE_VERSION" \
      -o "$1.part/cli-plugins/docker-compose" ./cmd
  ) || return
  rm -rf "$source"
  mv "$1.part" "$1"
}

# need_envoy_image: Envoy's public image; where it cannot be pulled, one of its name is made of the Envoy that is here.
need_envoy_image() {
  local image=envoyproxy/envoy:v$ENVOY_VERSION
  docker image inspect "$image" &>/dev/null && return
  say "pulling $image"
  timeout 300 docker pull --quiet "$image" &>/dev/null && return
  say "$image cannot be pulled: one of its name is made of the Envoy that is here"
  make_image "$image" '["envoy", "-c", "/etc/envoy/envoy.yaml"]' "$ENVOY" envoy
}

# make_image IMAGE COMMAND PROGRAM NAME: of a program, the shell that the health checks need, and their libraries.
make_image() {
  local root library
  root=$(mktemp -d)
  mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/tmp" "$root/etc"
  ln -s usr/bin "$root/bin"
  cp "$3" "$root/usr/bin/$4"
  cp "$(command -v bash)" "$root/usr/bin/bash"
  ln -s bash "$root/usr/bin/sh"
  cp /etc/nsswitch.conf "$root/etc/" 2>/dev/null || true
  for library in $(ldd "$3" "$(command -v bash)" | grep -o '/[^ :)]*' | grep '\.so' | sort -u) /lib/*/libnss_dns.so.2 /lib/*/libnss_files.so.2; do
    [[ -e $library ]] || continue
    mkdir -p "$root${library%/*}"
    cp -L "$library" "$root$library"
  done
  tar -C "$root" -c . | docker import --change "CMD $2" --change "ENV PATH=/usr/sbin:/usr/bin" - "$1" >/dev/null
  rm -rf "$root"
}
