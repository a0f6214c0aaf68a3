# Writes constraints.txt: every package that the extras bring into a fresh environment, at the version they bring.
# torch keeps the version pinned so far, unless TORCH names another one: make pins TORCH=torch==2.14.0
# The peers of the benchmarks are heavy and no test needs them: they keep the version pinned so far.
# A local version (2.13.0+cpu) is pinned without its suffix, so that the pin holds on every kind of machine.
set -e
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
peers=$("${PYTHON:-python3}" -c "
import re, tomllib
print('|'.join(re.match('[a-zA-Z-]+', need)[0] for need in tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['bench']))")
torch=${TORCH:-$(grep -s '^torch==' constraints.txt || echo torch)}

"${PYTHON:-python3}" -m venv "$fresh/venv"
"$fresh/venv/bin/python" -m pip install --quiet "$torch"
"$fresh/venv/bin/python" -m pip install --quiet -e '.[lab,fast,scale,test,dev]'
{
    echo "# Every dependency, pinned by 'make pins' from a fresh environment: what make, the tests and the twin of Binder install."
    {
        "$fresh/venv/bin/python" -m pip freeze --exclude-editable | grep -v -E '^(nvidia|cuda|triton)' | sed 's/+cpu$//'
        grep -i -E "^($peers)==" constraints.txt
    } | sort -f -u -t= -k1,1
} >"$fresh/constraints.txt"
cp "$fresh/constraints.txt" constraints.txt
echo "constraints.txt: $(grep -c == constraints.txt) pins"
