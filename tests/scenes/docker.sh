# Docker, its Compose plugin and the images of the examples. build.sh sources it.

readonly COMPOSE_VERSION=2.40.3
# As in the examples' docker-compose.yaml, and the Debian that has it.
readonly MARIADB_VERSION=11.8
readonly DEBIAN=trixie

need_docker() {
  have docker || install_packages docker.io
  docker info &>/dev/null || start_docker || die "no Docker engine answers here, and none can be started; name one by DOCKER_HOST"
  docker compose version &>/dev/null || install_compose
}

# An engine of our own, which keeps its things in .tools, and ends with us.
start_docker() {
  [[ $EUID -eq 0 ]] || return
  have dockerd || install_packages docker.io
  local folder=$TOOLS/docker
  mkdir -p "$folder"
  say "starting a Docker engine"
  dockerd --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/docker.pid" --host "unix://$folder/docker.sock" \
    &>"$folder/dockerd.log" &
  docker_engine=$!
  trap 'kill "$docker_engine" && wait "$docker_engine"' EXIT
  export DOCKER_HOST=unix://$folder/docker.sock
  local tries
  for ((tries = 0; tries < 60; tries++)); do
    docker info &>/dev/null && return
    kill -0 "$docker_engine" 2>/dev/null || break
    read -rt 1 <> <(:) || true
  done
  tail -n 5 "$folder/dockerd.log" >&2
  return 1
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

# The public images of the examples; where one cannot be pulled, one of its name is made of what is here, or of Debian's packages. That
# which cannot be made either is told of, and left out with its examples.
need_images() {
  source tests/peers/install.sh
  need_image "envoyproxy/envoy:v$ENVOY_VERSION" make_envoy_image
  need_image "quay.io/keycloak/keycloak:$KEYCLOAK_VERSION" make_keycloak_image
  need_image "mariadb:$MARIADB_VERSION" make_mariadb_image
}

# need_image IMAGE COMMAND
need_image() {
  docker image inspect "$1" &>/dev/null && return
  say "pulling $1"
  timeout 300 docker pull --quiet "$1" &>/dev/null && return
  say "$1 cannot be pulled: one of its name is made"
  "$2" "$1" || say "$1 cannot be made"
}

make_envoy_image() {
  make_image "$1" '["envoy", "-c", "/etc/envoy/envoy.yaml"]' "$ENVOY" envoy
}

# Keycloak's distribution of Maven Central, and Debian's Java.
make_keycloak_image() {
  install_keycloak
  local root
  root=$(mktemp -d)
  debian_root "$root" openjdk-21-jre-headless || return
  as_root mkdir "$root/opt/keycloak"
  as_root cp -r "$KEYCLOAK/." "$root/opt/keycloak"
  # As the public image says it: else a server for development is there for its own host alone.
  import_root "$root" "$1" --change 'ENTRYPOINT ["/opt/keycloak/bin/kc.sh"]' --change 'ENV KC_RUN_IN_CONTAINER=true'
}

# Debian's MariaDB is of the same version; the scripts stand for those of the public image.
make_mariadb_image() {
  local root
  root=$(mktemp -d)
  debian_root "$root" mariadb-server || return
  as_root tee "$root/usr/local/bin/docker-entrypoint.sh" >/dev/null <<'SCRIPT'
#!/bin/bash
set -e
rm -rf /var/lib/mysql/* && mkdir -p /run/mysqld && chown mysql:mysql /run/mysqld
mariadb-install-db --user=mysql --auth-root-authentication-method=normal >/dev/null
cat >/run/root.sql <<SQL
ALTER USER root@localhost IDENTIFIED BY '$MARIADB_ROOT_PASSWORD';
CREATE OR REPLACE USER root@'%' IDENTIFIED BY '$MARIADB_ROOT_PASSWORD';
GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;
SQL
chown mysql:mysql /run/root.sql
exec mariadbd --user=mysql --bind-address=0.0.0.0 --init-file=/run/root.sql
SCRIPT
  as_root tee "$root/usr/local/bin/healthcheck.sh" >/dev/null <<'SCRIPT'
#!/bin/bash
exec mariadb-admin --user=root --password="$MARIADB_ROOT_PASSWORD" status >/dev/null
SCRIPT
  as_root chmod 755 "$root/usr/local/bin/docker-entrypoint.sh" "$root/usr/local/bin/healthcheck.sh"
  import_root "$root" "$1" --change 'ENTRYPOINT ["docker-entrypoint.sh"]'
}

# debian_root FOLDER PACKAGE…: Debian's packages in a folder of their own.
debian_root() {
  have debootstrap || install_packages debootstrap
  # The root of the image, which others than root must enter.
  chmod 755 "$1"
  quietly "getting Debian's ${*:2}" as_root debootstrap --variant=minbase --include="$(IFS=, && echo "${*:2}")" \
    "$DEBIAN" "$1"
}

# import_root FOLDER IMAGE CHANGE…
import_root() {
  as_root tar -C "$1" -c . |
    docker import --change "ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "${@:3}" - "$2" >/dev/null
  as_root rm -rf "$1"
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
