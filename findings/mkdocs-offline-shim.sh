#!/usr/bin/env bash
# A site that Material for MkDocs builds "offline" asks a public server for a script on every page
#
# Surprising: the plugin "offline" is there to make a site that is read from disk without a network. It adds a script from a content delivery network
# (the shim of iframe-worker, with which search works from file://) to every page, so that each page that is opened sends a request to the outside,
# and search fails where there is none. The build says nothing, in strict mode too. An own entry of extra.polyfills whose path contains "iframe-worker",
# pointing to a local copy, keeps it out.
# Who meets it: whoever ships documentation for machines without a network, or must not send readers' requests to third parties.
# Versions: mkdocs-material 9.8.2, mkdocs 1.6.1 (Python 3.11). Seen 2026-11-29:
#   plugins search and offline: 3 of 3 pages load a script from another server
#   with a local entry:         0 of 3 pages
# Fails (exit 1) when the first count is not all pages, or the second not zero.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "mkdocs-material==9.8.2" "mkdocs==1.6.1"
mkdir -p "$folder/docs"
echo "# Home" > "$folder/docs/index.md"
echo "# Other" > "$folder/docs/other.md"
echo "/* a local copy */" > "$folder/docs/iframe-worker.js"
cat > "$folder/mkdocs.yml" <<'YML'
site_name: Example
theme: {name: material, font: false}
plugins: [search, offline]
YML
cd "$folder"
outside() {
  NO_MKDOCS_2_WARNING=1 "$folder/venv/bin/mkdocs" build -q --strict --site-dir "$folder/site"
  pages=$(find site -name '*.html' | wc -l)
  asking=$( (grep -lE '<script[^>]* src="?https?://' $(find site -name '*.html') || true) | wc -l)
  rm -r site
}
outside
echo "plugins search and offline: $asking of $pages pages load a script from another server"
test "$asking" -eq "$pages"
printf 'extra: {polyfills: [iframe-worker.js]}\n' >> mkdocs.yml
outside
echo "with a local entry:         $asking of $pages pages"
test "$asking" -eq 0
