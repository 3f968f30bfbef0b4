#!/bin/sh
# Makes the secrets that compose.yaml names, each a file of ./secrets. What is there stays: run it as often as you like.
# Keep a copy of them where your backups are, and apart from these: docs/deployment.md says which of them matters for what.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets
cd secrets

# Nobody else may enter the folder. The files themselves are open, as user 10001 of the containers reads them.
keep() {
    if [ ! -s "$1" ]; then
        cat > "$1.new"
        chmod 644 "$1.new"
        mv "$1.new" "$1"
        echo "secrets/$1 is made"
    fi
}

random() { openssl rand -hex 24; }

keep postgres_password <<END
$(random)
END
keep database_url <<END
postgresql+psycopg://features:$(cat postgres_password)@postgres:5432/features
END
keep valkey_password <<END
$(random)
END
keep aws_credentials <<END
[default]
aws_access_key_id = features
aws_secret_access_key = $(random)
END
keep s3_identities <<END
{
  "identities": [
    {
      "name": "features",
      "credentials": [
        {"accessKey": "features", "secretKey": "$(sed -n 's/^aws_secret_access_key = //p' aws_credentials)"}
      ],
      "actions": ["Read:features", "Write:features", "List:features", "Tagging:features"]
    }
  ]
}
END
keep audit_key <<END
$(openssl genpkey -algorithm ed25519)
END
keep erasure_secret <<END
$(random)
END
