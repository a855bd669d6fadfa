// URLs and headers: see request.h.
#include "http/request.h"

#include <curl/curl.h>

#include <array>
#include <mutex>
#include <utility>

#include "base/block_pool.h"
#include "base/text.h"
#include "http/curl_handles.h"

namespace sluiceway::http {
namespace {

// Fields that frame the message or belong to the connection (RFC 9110, section 7.6.1; RFC 9112,
// section 6). A caller's copy would contradict what is sent.
constexpr std::array<std::string_view, 9> kTransportFields = {"Content-Length",
                                                              "Transfer-Encoding",
                                                              "Connection",
                                                              "Keep-Alive",
                                                              "Proxy-Connection",
                                                              "Upgrade",
                                                              "TE",
                                                              "Trailer",
                                                              "Expect"};

// Fields that the library adds of itself unless they are given or blanked.
constexpr std::array<std::string_view, 4> kBlanked = {"Expect", "Accept", "Accept-Encoding",
                                                      "Content-Type"};

bool is_token_char(unsigned char c) {
  if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
  return c != 0 &&
         std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos;
}

std::string url_part(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return {};
  std::string out(text);
  curl_free(text);
  return out;
}

}  // namespace

bool curl_ready() {
  static std::once_flag once;
  static bool ready = false;
  std::call_once(once, [] {
    // Where somebody in the process was first, libcurl goes on with what they gave it.
    const CURLcode begun = kPoolsBlocks
                               ? curl_global_init_mem(CURL_GLOBAL_DEFAULT, pool_malloc, pool_free,
                                                      pool_realloc, pool_strdup, pool_calloc)
                               : curl_global_init(CURL_GLOBAL_DEFAULT);
    ready = begun == CURLE_OK && curl_version_info(CURLVERSION_NOW)->version_num >= 0x080500;
  });
  return ready;
}

bool valid_header_name(std::string_view name) {
  if (name.empty()) return false;
  for (char c : name) {
    if (!is_token_char(static_cast<unsigned char>(c))) return false;
  }
  return true;
}

bool valid_header_value(std::string_view value) {
  for (char c : value) {
    if (c == '\r' || c == '\n' || c == '\0') return false;
  }
  return true;
}

Status check_header(const Header& header) {
  // The value is never shown: it may be a key.
  if (!valid_header_name(header.name)) return invalid_argument("a header's name is not a token");
  if (!valid_header_value(header.value)) {
    return invalid_argument("the value of header '" + header.name + "' has a line break or a NUL");
  }
  for (std::string_view name : kTransportFields) {
    if (equals_ignore_case(name, header.name)) {
      return invalid_argument("header '" + header.name + "' is set by the transport");
    }
  }
  return absl::OkStatus();
}

std::string header_line(const Header& header) {
  const std::string_view value = trim(header.value);
  std::string line = header.name;
  if (value.empty()) return line += ';';  // the library's way to send an empty field
  line += ": ";
  return line += value;
}

Url::Url() : handle_(std::make_unique<Handle>()) {}

Url::~Url() { curl_url_cleanup(static_cast<CURLU*>(handle_->url)); }

StatusOr<std::shared_ptr<const Url>> Url::parse(std::string_view text) {
  if (!curl_ready()) return absl::InternalError("libcurl 8.5 or newer is required");
  for (char c : text) {
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f) {
      return invalid_argument("the URL has a space or a control character");
    }
  }
  std::shared_ptr<Url> out(new Url);
  CURLU* url = curl_url();
  if (url == nullptr) return absl::ResourceExhaustedError("out of memory");
  out->handle_->url = url;
  const CURLUcode code = curl_url_set(url, CURLUPART_URL, std::string(text).c_str(), 0);
  if (code != CURLUE_OK) {
    return invalid_argument(std::string("the URL is not valid: ") + curl_url_strerror(code));
  }
  const std::string scheme = url_part(url, CURLUPART_SCHEME);
  if (scheme != "http" && scheme != "https") {
    return invalid_argument("the URL's scheme is neither http nor https");
  }
  if (!url_part(url, CURLUPART_USER).empty() || !url_part(url, CURLUPART_PASSWORD).empty()) {
    return invalid_argument("the URL holds credentials; send them in a header");
  }
  curl_url_set(url, CURLUPART_FRAGMENT, nullptr, 0);
  out->tls_ = scheme == "https";
  out->text_ = url_part(url, CURLUPART_URL);
  out->host_ = url_part(url, CURLUPART_HOST);
  out->origin_ =
      scheme + "://" + out->host_ + ":" + url_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
  return std::shared_ptr<const Url>(std::move(out));
}

HeaderSet::HeaderSet() : list_(std::make_unique<List>()) {}

HeaderSet::~HeaderSet() { curl_slist_free_all(list_->head); }

StatusOr<std::shared_ptr<const HeaderSet>> HeaderSet::make(std::vector<Header> headers) {
  std::shared_ptr<HeaderSet> out(new HeaderSet);
  curl_slist* list = nullptr;
  // A failed append (no memory) leaves the list as it was; then the set is refused as a whole.
  const auto append = [&list](const std::string& line) {
    curl_slist* longer = curl_slist_append(list, line.c_str());
    if (longer != nullptr) list = longer;
    return longer != nullptr;
  };
  bool fits = true;
  std::array<bool, kBlanked.size()> given{};
  for (const Header& header : headers) {
    if (Status status = check_header(header); !status.ok()) {
      curl_slist_free_all(list);
      return status;
    }
    for (std::size_t i = 0; i < kBlanked.size(); ++i) {
      given[i] = given[i] || equals_ignore_case(kBlanked[i], header.name);
    }
    fits = append(header_line(header)) && fits;
  }
  for (std::size_t i = 0; i < kBlanked.size(); ++i) {
    if (!given[i]) fits = append(std::string(kBlanked[i]) + ":") && fits;
  }
  out->list_->head = list;
  if (!fits) return absl::ResourceExhaustedError("out of memory");
  out->entries_ = std::move(headers);
  return std::shared_ptr<const HeaderSet>(std::move(out));
}

const HeaderSet& empty_header_set() {
  static const auto* set = new std::shared_ptr<const HeaderSet>(*HeaderSet::make({}));
  return **set;
}

}  // namespace sluiceway::http
