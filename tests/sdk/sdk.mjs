// All tests of this folder, in one process; see README.md.
import "./keys.mjs";
import "./crypto.mjs";
import "./matrix.mjs";
import "./secrets.mjs";
import "./certificates.mjs";
import "./files.mjs";
import "./deleted.mjs";
import "./backup.mjs";
import "./updates.mjs";
import "./rotation.mjs";
import "./issuers.mjs";
import "./merge.mjs";
import "./polling.mjs";
import "./traps.mjs";
import "./limits.mjs";
import "./many.mjs";
import "./identity.mjs";
