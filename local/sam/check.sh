#!/usr/bin/env bash
# Checks these scripts and the template: the rules of SAM and CloudFormation, then security. checkov.yaml lists the
# exceptions with their reasons.
. "$(dirname "$0")/common.sh"
"$here/tools.sh" lint

sam validate --lint --template template.yaml
cfn-lint --template template.yaml
LOG_LEVEL=ERROR "$state/lint/bin/checkov" --config-file "$here/checkov.yaml"
"$state/lint/bin/shellcheck" --external-sources --source-path=SCRIPTDIR "$here"/*.sh
