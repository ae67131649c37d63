# Installs the servers of tests/peers into .tools, and names them in the environment. build.sh sources it.

readonly KEYCLOAK_VERSION=26.7.3

# all_or_nothing NAME COMMAND…: the command fills the folder NAME of .tools, which is there only if it could.
all_or_nothing() {
  local folder=$TOOLS/$1
  [[ -d $folder ]] && return
  rm -rf "$folder.part"
  mkdir -p "$folder.part"
  "${@:2}" "$folder.part" || die "$1 cannot be had"
  mv "$folder.part" "$folder"
}

# Keycloak: its distribution, from Maven Central.

install_keycloak() {
  have java || install_packages default-jre-headless
  have mvn || install_packages maven
  all_or_nothing "keycloak-$KEYCLOAK_VERSION" get_keycloak
  export KEYCLOAK=$TOOLS/keycloak-$KEYCLOAK_VERSION
}

# The optimised build is for a database in memory, so that each start finds an empty one.
get_keycloak() {
  local archive=keycloak-quarkus-dist-$KEYCLOAK_VERSION.tar.gz
  quietly "getting Keycloak $KEYCLOAK_VERSION from Maven Central" mvn --batch-mode --quiet dependency:copy \
    -Dartifact="org.keycloak:keycloak-quarkus-dist:$KEYCLOAK_VERSION:tar.gz" -DoutputDirectory="$1" || return
  tar -xzf "$1/$archive" -C "$1" --strip-components 1 && rm "$1/$archive" || return
  quietly "preparing Keycloak" "$1/bin/kc.sh" build --db=dev-mem --cache=local --health-enabled=true
}
