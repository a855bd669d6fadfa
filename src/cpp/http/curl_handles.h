// What request.h hides: the library's own forms of a URL and a header list. For this room's .cc
// files.
#pragma once

#include "http/request.h"

struct curl_slist;

namespace sluiceway::http {

// Initialises the library once in the process. Safe for all threads. False: it is too old or
// failed.
bool curl_ready();

struct Url::Handle {
  void* url = nullptr;  // CURLU
};

// One "Name: value" as the library's list wants it.
std::string header_line(const Header& header);

struct HeaderSet::List {
  curl_slist* head = nullptr;
};

// The list of a request without any headers: only switches the library's own additions off.
const HeaderSet& empty_header_set();

}  // namespace sluiceway::http
