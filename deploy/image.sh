#!/bin/sh
# Lays out the file system of the container image below ROOT: the programs of BIN, the shared libraries they load,
# certificates, time zones, two lines of users, and a list (SPDX 2.3) of what is in it. No shell, no package manager.
#
# usage: deploy/image.sh ROOT BIN [VERSION]
#
# Runs on the Debian that the programs were built on. SOURCE_DATE_EPOCH (default 0) is the time of every file, so that the
# same inputs make the same layers.
set -eu

root=$1 bin=$2 version=${3:-unknown}
epoch=${SOURCE_DATE_EPOCH:-0}
share=$root/usr/local/share/roost
list=$(mktemp)
trap 'rm -f "$list"' EXIT

# Empty: a container engine mounts its own there, also where the root cannot be written.
mkdir -p "$root/proc" "$root/sys" "$root/dev"
mkdir -p "$root/usr/local/bin" "$root/etc/ssl/certs" "$root/usr/share" "$share" "$root/tmp"
chmod 1777 "$root/tmp"

# A file of this machine, at its own path; noted for the list.
take() {
    mkdir -p "$root$(dirname "$1")"
    cp -L "$1" "$root$1"
    echo "$1" >>"$list"
}

for program in roostd roostctl roostload; do
    cp "$bin/$program" "$root/usr/local/bin/"
    chmod 755 "$root/usr/local/bin/$program"
done
for program in roostd roostctl roostload; do
    ldd "$bin/$program"
done | awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }' | sort -u | while read -r library; do
    take "$library"
done
take /etc/ssl/certs/ca-certificates.crt
cp -R /usr/share/zoneinfo "$root/usr/share/zoneinfo"
rm -rf "$root/usr/share/zoneinfo/right" "$root/usr/share/zoneinfo/posix"
echo /usr/share/zoneinfo/UTC >>"$list"

cat >"$root/etc/passwd" <<'END'
root:x:0:0:root:/:/nonexistent
roost:x:10001:10001:Roost WebSocket gateway:/:/nonexistent
END
cat >"$root/etc/group" <<'END'
root:x:0:
roost:x:10001:
END
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"

# Whose files these are. A library is known by its path in /lib or in /usr/lib, whichever its package has; certificates
# are put together when their package is set up.
owners=$(while read -r path; do echo "$path /usr$path"; done <"$list" | xargs dpkg -S 2>/dev/null || true)
missing=$(while read -r path; do
    case $path in */ca-certificates.crt) continue ;; esac
    printf '%s\n' "$owners" | grep -qE "[:] (/usr)?$path\$" || echo "$path"
done <"$list")
[ -z "$missing" ] || { echo "image.sh: no package has $missing" >&2; exit 1; }
names=$({ printf '%s\n' "$owners" | cut -d: -f1; echo ca-certificates; } | sort -u)
{
    cat <<END
{
  "spdxVersion": "SPDX-2.3",
  "dataLicense": "CC0-1.0",
  "SPDXID": "SPDXRef-DOCUMENT",
  "name": "roost-$version",
  "documentNamespace": "urn:roost:image:$version",
  "creationInfo": {"created": "$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)", "creators": ["Tool: deploy/image.sh"]},
  "packages": [
    {"name": "roost", "SPDXID": "SPDXRef-roost", "versionInfo": "$version", "downloadLocation": "NOASSERTION",
     "filesAnalyzed": false, "licenseConcluded": "MIT", "licenseDeclared": "MIT", "copyrightText": "2026 the Roost authors"}
END
    for name in $names; do
        number=$(dpkg-query -W -f '${Version}' "$name" | head -1)
        architecture=$(dpkg-query -W -f '${Architecture}' "$name" | head -1)
        cat <<END
    ,{"name": "$name", "SPDXID": "SPDXRef-$(echo "$name" | tr -c 'a-zA-Z0-9.\n' '-')", "versionInfo": "$number", "supplier": "Organization: Debian",
     "downloadLocation": "NOASSERTION", "filesAnalyzed": false, "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION",
     "copyrightText": "NOASSERTION",
     "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                       "referenceLocator": "pkg:deb/debian/$name@$number?arch=$architecture"}]}
END
    done
    echo '  ],'
    echo '  "relationships": ['
    echo '    {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-roost"}'
    for name in $names; do
        echo "    ,{\"spdxElementId\": \"SPDXRef-roost\", \"relationshipType\": \"DEPENDS_ON\", \"relatedSpdxElement\": \"SPDXRef-$(echo "$name" | tr -c 'a-zA-Z0-9.\n' '-')\"}"
    done
    echo '  ]'
    echo '}'
} >"$share/sbom.spdx.json"

find "$root" -exec touch -h -d "@$epoch" {} +
