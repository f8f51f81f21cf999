// All tests of this folder, in one process; see README.md.
import "./keys.mjs";
import "./crypto.mjs";
import "./secrets.mjs";
import "./certificates.mjs";
import "./deleted.mjs";
import "./backup.mjs";
import "./updates.mjs";
import "./issuers.mjs";
import "./merge.mjs";
